#!/usr/bin/env bash
# issue-cert.sh [OPTION…]: get the certificate for DOMAIN now, and show every step. If run again, it keeps a good one.
#
# It starts nginx, which answers the authority's challenge on port 80, and passes its options to the keeper, in a
# container of the certbot service. Exit status: 0 the certificate is good, 1 it failed, 2 options or set-up can't work.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bundle.sh
source scripts/bundle.sh

SPACE_WANTED=1000000 # kB, for the images; the keeper checks its own needs

usage() {
  cat <<'TEXT'
issue-cert.sh [OPTION…]: get the certificate for DOMAIN (in .env) now, and show every step; a good one is kept.

  --domain NAME    a host name; may be repeated; DOMAIN must be among them (DOMAIN)
  --email ADDRESS  the account's e-mail address (ACME_EMAIL)
  --staging        a certificate that nobody trusts, from the staging server; Twilio refuses it (11237, 31910)
  --dry-run        a rehearsal: nothing that is served or kept is changed
  --ip             DOMAIN is an IPv4 address
  --profile NAME   the authority's profile: classic, tlsserver, shortlived (ACME_PROFILE)
  --force          issue even if it is not due
  --rollback       go back to the pair that was published before; run it again to undo that
TEXT
}

check_disk() {
  local root free
  root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || root=
  [ -d "$root" ] || root=.
  free=$(df -Pk "$root" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$SPACE_WANTED" ] ||
    die "the disk of $root has $((free / 1000)) MB free, wanted $((SPACE_WANTED / 1000)): make room (docker system df)"
}

keeper() { # keeper VERB [OPTION…]
  # A new container even if the service is running, because that one still has the .env with which it was started. They
  # wait for each other by a lock in the volume. -T: no terminal, so that this also works in cron and CI.
  compose run -T --rm --no-deps --entrypoint python3 certbot -m keeper "$@"
}

# The service would learn of the new certificate within a minute, and count as unhealthy until then.
look_anew() {
  if [ "$(health_of certbot)" = unhealthy ]; then compose restart certbot; fi
}

verb=issue
options=()
for option in "$@"; do
  case $option in
  -h | --help)
    usage
    exit 0
    ;;
  --rollback) verb=rollback ;;
  *) options+=("$option") ;;
  esac
done

need_engine
check_disk
need_free_ports
if ! compose up -d nginx; then
  why_not nginx >&2
  exit "$UNUSABLE"
fi
keeper "$verb" ${options[@]+"${options[@]}"}
look_anew
