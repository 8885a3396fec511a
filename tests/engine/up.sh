#!/usr/bin/env bash
# up.sh: a Docker engine with Compose v2, and the images that the Dockerfiles here start from.
#
# The engine that docker already reaches is used as it is, when it has these images or can get them. Otherwise, as root
# on Debian, one of our own is started beside it: engine and Compose from a newer Debian, unpacked into CALLGATE_ENGINE
# (see engine.sh) and never installed, with stand-ins of the official images (stand-ins/). Then it asks no image registry.
#
# Prints on standard output what a client needs, as NAME=value lines, and, as soon as it starts one where there was none
# of ours before, CALLGATE_ENGINE_STARTED=1; what happens, with the seconds, on standard error. Safe to run again. down.sh ends what this started.

# shellcheck source=tests/engine/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"
# shellcheck source=tests/engine/debian.sh
source "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
# shellcheck source=tests/engine/stand-ins.sh
source "$(dirname "${BASH_SOURCE[0]}")/stand-ins.sh"

# The newest that runs on this machine's C library. Debian 12's own engine is too old for today's Compose.
ENGINE_SUITES=(forky trixie)
ENGINE_PACKAGES=(docker.io docker-cli containerd docker-compose docker-buildx)
START_TIMEOUT=60 # seconds
PULL_TIMEOUT=300

main() {
  local images
  mapfile -t images < <(wanted_images)
  if ! own_pid >/dev/null && present_engine_will_do "${images[@]}"; then
    stage "the engine that is here is used: $(docker version --format '{{.Server.Version}}')"
    return
  fi
  if [ "$(id -u)" -ne 0 ] || ! is_debian; then
    die "no Docker engine with Compose v2 answers that has ${images[*]}; only root on Debian can start one: install Docker"
  fi

  mkdir -p "$state"/{bin,client/cli-plugins,packages,rootfs,run}
  exec {lock}<"$state"
  flock --timeout "$LOCK_TIMEOUT" "$lock" || die "another up.sh has been busy in $state for $LOCK_TIMEOUT s: end it"
  own_pid >/dev/null || : >"$log"
  set -E
  trap failed ERR
  need_host_programs >&2
  unpack_engine
  start_engine
  for image in "${images[@]}"; do
    make_stand_in "$image"
  done
  stage "ready"
  printf '%s\n' "${client[@]:1}"
}

is_debian() {
  grep -qx 'ID=debian' /etc/os-release 2>/dev/null
}

wanted_images() {
  sed -n 's/^FROM \([^ ]*\).*/\1/p' backend/Dockerfile deploy/*/Dockerfile tests/engine/*/Dockerfile | grep : | grep -v ^callgate- | sort -u
}

present_engine_will_do() { # present_engine_will_do IMAGE…
  local image
  command -v docker >/dev/null && timeout 20 docker version >/dev/null 2>&1 || return 1
  docker compose version >/dev/null 2>&1 || return 1
  for image in "$@"; do
    docker image inspect "$image" >/dev/null 2>&1 || timeout "$PULL_TIMEOUT" docker pull -q "$image" >&2 || return 1
  done
}

# Without addresses: they are this machine's, and a log may be shown to others.
failed() {
  tail -n 25 "$log" | sed -E 's,[a-z]+://[^ ]*,<address>,g' >&2
  die "the engine did not come up; the last of $log stands above"
}

# Those that must fit this machine's kernel or C library.
need_host_programs() {
  need_packages ca-certificates debian-archive-keyring iptables mmdebstrap runc tini
}

unpack_engine() {
  local suite engine=
  for suite in "${ENGINE_SUITES[@]}"; do
    if unpack_engine_of "$suite"; then
      engine=$state/packages/$suite/root
      break
    fi
    stage "the engine of Debian $suite can't be had or does not run here"
  done
  [ -n "$engine" ] || failed

  ln -sf "$engine"/usr/sbin/{dockerd,docker-proxy} "$engine"/usr/bin/{containerd,containerd-shim-runc-v2,docker} "$state/bin/"
  ln -sf "$(command -v runc)" "$state/bin/runc"
  ln -sf "$(command -v tini-static)" "$state/bin/docker-init"
  ln -sf "$engine"/usr/libexec/docker/cli-plugins/docker-{compose,buildx} "$state/client/cli-plugins/"
}

unpack_engine_of() { # unpack_engine_of SUITE
  local folder=$state/packages/$1 package
  [ ! -e "$folder/runs" ] || return 0
  stage "fetching the engine of Debian $1"
  rm -rf "$folder"
  mkdir -p "$folder/root"
  download_packages "$1" "$folder" "${ENGINE_PACKAGES[@]}" >>"$log" 2>&1 || return 1
  for package in "$folder"/*.deb; do
    dpkg -x "$package" "$folder/root" || return 1
  done
  rm "$folder"/*.deb
  engine_runs "$folder/root" >>"$log" 2>&1 || return 1
  touch "$folder/runs"
}

engine_runs() { # engine_runs FOLDER
  "$1/usr/sbin/dockerd" --version && "$1/usr/bin/containerd" --version && "$1/usr/bin/docker" --version &&
    "$1/usr/libexec/docker/cli-plugins/docker-compose" version && "$1/usr/libexec/docker/cli-plugins/docker-buildx" version
}

start_engine() {
  if own_pid >/dev/null; then return 0; fi
  sysctl -n net.ipv4.ip_forward >"$forwarding"
  sysctl -qw net.ipv4.ip_forward=1
  # The daemon's own requests go to a closed port, so that an image that is missing fails at once, and here. Containers
  # and builds don't inherit this. The lock is not for it either.
  HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY=127.0.0.0/8 \
    "${client[@]}" setsid nohup dockerd --data-root "$state/data" --exec-root "$state/run/exec" --pidfile "$pid_file" \
    --host "unix://$socket" --log-level warn </dev/null >>"$log" 2>&1 {lock}<&- &
  echo CALLGATE_ENGINE_STARTED=1
  local deadline=$((SECONDS + START_TIMEOUT))
  until "${client[@]}" docker version >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || failed
    sleep 0.2
  done
  stage "engine $("${client[@]}" docker version --format '{{.Server.Version}}'), Compose $("${client[@]}" docker compose version --short)"
}

main
