#!/usr/bin/env bash
# backup.sh FILE: copy what the bundle's volumes hold to a new file, which only its owner can read. Calls go on meanwhile,
# and every file in it is from one moment. scripts/restore.sh puts it back.
#
# In it: the ACME account, the certificates and the keeper's state (the volume `certbot`); the record of calls, if it is
# kept in SQLite, and what else is in DATA_DIR (the volume `data`). So it holds private keys, and callers' words.
# Not in it: .env and agents/, which are files of yours; a record of calls in PostgreSQL (pg_dump).
#
# Exit status: 0 the file is complete, 1 it could not be made (there is none then), 2 docker or FILE can't be used.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bundle.sh
source scripts/bundle.sh

case ${1:-} in
-h | --help)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
[ $# -eq 1 ] && [[ $1 != -* ]] || die "it takes one word: the name of the new file"
case $1 in /*) file=$1 ;; *) file=$called_from/$1 ;; esac
[ ! -e "$file" ] || die "$1 exists: name a new file, as in callgate-$(date +%F).tar"
folder=$(dirname "$file")
[ -d "$folder" ] && [ -w "$folder" ] || die "nothing can be written to $folder: name another folder, or make it"
need_engine

umask 077
parts=$(mktemp -d "$folder/.callgate-backup.XXXXXX")
trap 'rm -rf "$parts"' EXIT
trap 'exit 1' HUP INT TERM
for volume in "${volumes[@]}"; do
  in_volume pack "$volume" >"$parts/$volume.tar" </dev/null || die_failed "the volume $volume could not be copied; the reason is above"
done
tar -cf "$parts/backup" -C "$parts" "${volumes[@]/%/.tar}" || die_failed "$1 could not be written; the reason is above"
mv -n "$parts/backup" "$file"
[ ! -e "$parts/backup" ] || die_failed "$1 has appeared meanwhile: name a new file"
echo "$1 holds the certificates and the record of calls. It holds private keys too: keep it as you keep .env."
echo "Not in it, and yours to keep: .env, and the folder agents/."
