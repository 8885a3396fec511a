#!/usr/bin/env bash
# start.sh [SERVICE…]: start the bundle, or these of its services, and wait until all are healthy. If one does not become
# so, the last line says why. It is `docker compose up -d --wait` with two things more: what Docker itself needs is
# checked first, and a cause is shown. Safe to run again.
#
#   --check    only look whether docker can run the bundle
#
# Exit status: 0 all are healthy, 1 one is not, 2 docker or a port can't be used.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bundle.sh
source scripts/bundle.sh

case ${1:-} in
-h | --help)
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
--check)
  need_engine
  exit 0
  ;;
-*) die "there is no option $1: name services, or --check" ;;
esac
need_engine
start_services "$@"
