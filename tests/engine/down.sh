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

# dockerd leaves its bridges and packet filter rules behind, and with them the kernel tracks every connection of this
# machine, loopback's too. They may be another engine's by now.
remove_traces() { # remove_traces BRIDGE…
  local program bridge
  [[ $(readlink /proc/[0-9]*/exe 2>/dev/null || true) != */dockerd* ]] || return 0
  for bridge in "$@"; do
    ! ip link show "$bridge" >/dev/null 2>&1 || ip link delete "$bridge"
  done
  for program in iptables ip6tables; do
    remove_rules "$program" "$@"
  done
  sysctl -qw "net.ipv4.ip_forward=$(cat "$forwarding")"
}

remove_rules() { # remove_rules PROGRAM BRIDGE…
  local table chain ours
  ours=$(IFS='|' && echo "DOCKER|${*:2}")
  for table in raw filter nat; do
    "$1-save" --table "$table" | sed -E "/$ours/d" | "$1-restore" --table "$table"
    for chain in PREROUTING INPUT FORWARD OUTPUT POSTROUTING; do
      "$1" --table "$table" --delete-chain "$chain" 2>/dev/null || true # it is not empty, or this table has none
    done
  done
}

if pid=$(own_pid); then
  stop_containers
  mapfile -t bridges < <("${client[@]}" docker network ls --quiet --filter driver=bridge --filter type=custom)
  stop_engine "$pid"
  remove_traces docker0 "${bridges[@]/#/br-}"
  stage "the engine is down"
else
  stage "no engine of the tests runs"
fi
if [ "$*" = --purge ]; then
  rm -rf "$state"
  stage "$state is removed"
fi
