#!/usr/bin/env bash
# down.sh [--purge]: ends the engine that up.sh started, by its id, and its containers. Any other is left alone.
#   --purge    also removes its folder: images, volumes, and what was downloaded

# shellcheck source=tests/engine/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

STOP_TIMEOUT=60 # seconds

[ $# -eq 0 ] || [ "$*" = --purge ] || die "it takes --purge, or nothing"

stop_containers() {
  local ids
  mapfile -t ids < <("${client[@]}" docker ps --quiet)
  [ ${#ids[@]} -eq 0 ] || "${client[@]}" docker stop --time 5 "${ids[@]}" >/dev/null
}

stop_engine() { # stop_engine PID
  local deadline=$((SECONDS + STOP_TIMEOUT))
  kill "$1"
  while kill -0 "$1" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || die "dockerd (process $1) did not end within $STOP_TIMEOUT s"
    sleep 0.2
  done
}

# dockerd leaves its bridge behind; it may be another engine's by now.
remove_bridge() {
  [[ $(readlink /proc/[0-9]*/exe 2>/dev/null || true) != */dockerd* ]] || return 0
  ! ip link show docker0 >/dev/null 2>&1 || ip link delete docker0
}

if pid=$(own_pid); then
  stop_containers
  stop_engine "$pid"
  remove_bridge
  stage "the engine is down"
else
  stage "no engine of the tests runs"
fi
if [ "$*" = --purge ]; then
  rm -rf "$state"
  stage "$state is removed"
fi
