#!/usr/bin/env bash
# own-volumes.sh: give every file in the bundle's volumes back to the service that owns it. Files of another user, which
# the service can't write, are left by copies that were made as root, for example with `docker compose cp`. Nothing else
# is changed, and nothing is stopped. Safe to run again.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bundle.sh
source scripts/bundle.sh

[ $# -eq 0 ] || die "it takes no words"
need_engine
project=$(compose config --format json | sed -n 's/^  "name": "\([^"]*\)",*$/\1/p' | sed -n 1p)
own() { # own VOLUME IMAGE USER
  docker volume inspect "${project}_$1" >/dev/null 2>&1 || return 0
  # Not as a service of the bundle, because those have no right to do this.
  docker run --rm --pull never --network none --user 0:0 --entrypoint chown --volume "${project}_$1:/volume" "$2" -R "$3" /volume
}
for volume in certbot published webroot rehearsal; do own "$volume" callgate-certbot 10002:101; done
own data callgate-backend 10001:10001
echo "All files in the volumes belong to their services again."
