#!/usr/bin/env bash
# What up.sh and down.sh share: source it.
#
#   CALLGATE_ENGINE    the folder of the tests' own engine: packages, root file systems, images, containers
#                      (/var/lib/callgate-engine); it may be removed whenever that engine is down

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

state=${CALLGATE_ENGINE:-/var/lib/callgate-engine}
# shellcheck disable=SC2034 # for those who source this
log=$state/log
pid_file=$state/run/dockerd.pid
# shellcheck disable=SC2034
forwarding=$state/run/ip_forward # as it was before
socket=$state/docker.sock
# shellcheck disable=SC2034
client=(env "DOCKER_HOST=unix://$socket" "DOCKER_CONFIG=$state/client" "PATH=$state/bin:$PATH")

stage() {
  printf '[%6.1f s] %s\n' "$(awk -v now="$EPOCHREALTIME" -v start="$started" 'BEGIN { print now - start }')" "$*" >&2
}
started=$EPOCHREALTIME

# Prints the id of the tests' own dockerd, when it runs. A number that another program has by now is not taken for it.
own_pid() {
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) && [ -n "$pid" ] || return 1
  [[ $(readlink "/proc/$pid/exe") == "$state"/*/dockerd ]] && echo "$pid"
}
