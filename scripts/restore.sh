#!/usr/bin/env bash
# restore.sh FILE [--replace]: put what scripts/backup.sh has copied back into the bundle's volumes. All of FILE is checked
# first. If a volume holds anything, nothing is done; with --replace, what it holds is moved to a folder in the volume,
# before-restore-TIME.
#
# The backend and certbot are stopped for it if they run, one after the other, and started again; nginx goes on. Live calls go on for up to
# DRAIN_SECONDS; after that, callers are asked to wait, and are then connected to an agent that knows the call only if it
# is in the restored record. If nothing runs, nothing is started: the next `up` serves the restored certificate, and
# no new one is asked for. What is written belongs to the services' users.
#
# Exit status: 0 done, 1 FILE or a volume was refused, 2 docker or FILE can't be used.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bundle.sh
source scripts/bundle.sh

file=
replace=
for word in "$@"; do
  case $word in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  --replace) replace=--replace ;;
  -*) die "there is no option $word: restore.sh FILE [--replace]" ;;
  *)
    [ -z "$file" ] || die "it takes one file: restore.sh FILE [--replace]"
    file=$word
    ;;
  esac
done
[ -n "$file" ] || die "which file? restore.sh FILE [--replace]"
shown=$file
case $file in /*) ;; *) file=$called_from/$file ;; esac
[ -f "$file" ] && [ -r "$file" ] || die "$shown is no file that can be read here"
need_engine

part() { # part VOLUME: that volume's stream. Nothing is unpacked here, and no name in FILE is used.
  local status=0
  tar -xOf "$file" "$1.tar" 2>/dev/null || status=$?
  case $status in
  0 | 141) ;; # 141: the other end had read enough to refuse it
  *) echo "this backup is cut off or damaged: take another one" >&2 ;;
  esac
  return "$status"
}

names=$(tar -tf "$file" 2>/dev/null | sort | tr '\n' ' ') || true
wanted=$(printf '%s.tar\n' "${volumes[@]}" | sort | tr '\n' ' ')
# The list of a file that was cut off is incomplete too.
[ "$names" = "$wanted" ] || die_failed "$shown is not a backup of Callgate, or was cut off: it holds ${names:-nothing}where ${wanted% } is wanted"

is_running() { # is_running SERVICE
  [ -n "$(compose ps --quiet --status running "$1" 2>/dev/null)" ]
}

# This builds the images if there are none, before standard input is needed for anything else.
in_volume look "${volumes[0]}" </dev/null || die_failed "no container can be started; the reason is above"
for volume in "${volumes[@]}"; do
  part "$volume" | in_volume check "$volume" $replace || die_failed "$shown was not restored, and nothing was changed; the reason is above"
done
# One service after the other, each away as briefly as can be: it is stopped when its part has been handed over, and the
# folder is replaced only once it has stopped, at the end of the input.
any_runs=no
for volume in "${volumes[@]}"; do
  service=$(service_of "$volume")
  runs=no
  if is_running "$service"; then
    runs=yes any_runs=yes
    trap 'compose start "$service"' EXIT
  fi
  {
    part "$volume" && if [ $runs = yes ]; then compose stop "$service" >&2 </dev/null; fi
  } | in_volume unpack "$volume" $replace || die_failed "the volume $volume was not restored; the reason is above"
  if [ $runs = yes ]; then
    trap - EXIT
    compose start "$service"
  fi
done
echo "$shown is restored.$([ -z "$replace" ] || echo " What was there before is in before-restore-* in the volumes; docs/operations.md says how to remove it.")"
if [ $any_runs = no ]; then echo "To start: scripts/start.sh"; fi
