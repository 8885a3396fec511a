#!/usr/bin/env bash
# What the scripts around docker-compose.prod.yml share, to be sourced in the project's folder. It defines:
#
#   compose WORD…              docker compose, with the bundle's files
#   engine_problem             print why docker can't run the bundle, as "FOUND: DO"; nothing if it can
#   need_engine                exit with 2 and that sentence, if there is one
#   need_free_ports            exit with 2 if somebody else has a port that nginx publishes, and say who
#   start_services SERVICE…    start these services, or all, wait until they are healthy, and otherwise say why not
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

# The compose file needs the first for healthcheck.start_interval, the second for env_file with `required: false`.
ENGINE_WANTED=25.0
COMPOSE_WANTED=2.24
UNUSABLE=2

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit "$UNUSABLE"
}

compose() {
  docker compose -f docker-compose.prod.yml ${CALLGATE_COMPOSE_OVERRIDE:+-f "$CALLGATE_COMPOSE_OVERRIDE"} "$@"
}

# --- Docker -----------------------------------------------------------------------------------------------------------

need_engine() {
  local problem
  problem=$(engine_problem)
  [ -z "$problem" ] || die "$problem"
}

engine_problem() {
  local wanted="Docker Engine $ENGINE_WANTED or later with Compose $COMPOSE_WANTED or later" version old
  if ! command -v docker >/dev/null; then
    echo "there is no docker: install $wanted (docs.docker.com/engine/install)"
  elif is_podman; then
    echo "docker is Podman here, which does not run this bundle: install $wanted (docs.docker.com/engine/install)"
  elif ! version=$(docker version --format '{{.Server.Version}}' 2>&1); then
    case $version in
    *"permission denied"*) echo "this user may not use the docker engine: run this with sudo, or add the user to the group docker" ;;
    *) echo "the docker engine does not answer: start it (systemctl start docker), or run this with sudo" ;;
    esac
  elif is_older "$version" "$ENGINE_WANTED"; then
    echo "the docker engine is $(last_line <<<"$version"), and $ENGINE_WANTED or later is wanted: update it (docs.docker.com/engine/install)"
  elif ! version=$(docker compose version --short 2>/dev/null); then
    old=$(docker-compose version --short 2>/dev/null) || old=
    echo "docker has no compose${old:+ of its own, and docker-compose $old is not used}: install Compose $COMPOSE_WANTED or later (the package docker-compose-plugin)"
  elif is_older "$version" "$COMPOSE_WANTED"; then
    echo "Docker Compose is $(last_line <<<"$version"), and $COMPOSE_WANTED or later is wanted: update it (the package docker-compose-plugin)"
  fi
}

# Both the program that emulates docker, and an engine that a real docker program asks.
is_podman() {
  local said
  said=$(
    docker --version 2>/dev/null
    docker version 2>/dev/null
  ) || true
  [[ $said == *[Pp]odman* ]]
}

# Whether VERSION is older than WANTED, by their first two numbers. A version without numbers is taken for a new one.
is_older() { # is_older VERSION WANTED
  local found wanted=$2
  found=$(last_line <<<"$1")
  [[ $found =~ ^v?([0-9]+)(\.([0-9]+))? ]] || return 1
  local major=$((10#${BASH_REMATCH[1]})) minor=$((10#${BASH_REMATCH[3]:-0}))
  [ "$major" -lt "${wanted%.*}" ] || { [ "$major" -eq "${wanted%.*}" ] && [ "$minor" -lt "${wanted#*.}" ]; }
}

last_line() { # the last line that is not empty; warnings come before it
  local line last=
  while IFS= read -r line || [ -n "$line" ]; do
    [ -z "${line//[[:space:]]/}" ] || last=$line
  done
  printf '%s\n' "$last"
}

# --- Ports ------------------------------------------------------------------------------------------------------------

need_free_ports() {
  local problem
  problem=$(port_problem)
  [ -z "$problem" ] || die "$problem"
}

# Prints who has a port that nginx publishes, and what to do; nothing while nginx itself has them.
port_problem() {
  local port holder
  [ -z "$(compose ps --quiet --status running nginx 2>/dev/null)" ] || return 0
  while read -r port; do
    holder=$(holder_of "$port")
    if [ -n "$holder" ]; then
      echo "port $port, which nginx needs, is taken by $holder: stop that, and run this again"
      return
    fi
  done < <(compose config nginx 2>/dev/null | sed -n 's/^ *published: "\([0-9][0-9]*\)"$/\1/p')
}

holder_of() { # holder_of PORT
  local name ports listener
  while IFS='|' read -r name ports; do
    case ", $ports" in *":$1->"*)
      echo "the container $name"
      return
      ;;
    esac
  done < <(docker ps --format '{{.Names}}|{{.Ports}}' 2>/dev/null)
  is_engine_here || return 0
  if command -v ss >/dev/null; then
    listener=$(ss -Hltnp "sport = :$1" 2>/dev/null) || listener=
    [ -n "$listener" ] || return 0
    if [[ $listener =~ \(\(\"([^\"]*)\",pid=([0-9]+) ]]; then
      echo "${BASH_REMATCH[1]} (process ${BASH_REMATCH[2]})"
    else
      echo "another program (sudo ss -ltnp 'sport = :$1' names it)"
    fi
  elif (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
    echo "another program"
  fi
}

# Whether the ports of the engine's machine are those of this one.
is_engine_here() {
  local host=${DOCKER_HOST:-}
  [ -n "$host" ] || host=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || host=
  case $host in "" | unix:* | npipe:*) return 0 ;; *) return 1 ;; esac
}

# --- Starting ---------------------------------------------------------------------------------------------------------

start_services() { # start_services [SERVICE…]
  case " $* " in "  " | *" nginx "*) need_free_ports ;; esac
  # The keeper's health is looked at anew, so that a cause that has been mended meanwhile does not end the wait.
  if [ "$(health_of certbot)" = unhealthy ]; then compose restart certbot; fi
  if compose up -d --wait "$@"; then return 0; fi
  why_not "$@" >&2
  return 1
}

health_of() { # health_of SERVICE
  local id
  id=$(compose ps --quiet "$1" 2>/dev/null | sed -n 1p)
  [ -z "$id" ] || docker inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{end}}' "$id"
}

# Prints a line for each service that is not well: why it could not be started, or what its last check said, or the last
# line of its log. Nothing is printed behind it: it is what a person has to act on.
why_not() { # why_not [SERVICE…]
  local id service status health restarts started error until said
  while read -r id; do
    IFS='|' read -r service status health restarts started error < <(docker inspect --format \
      '{{index .Config.Labels "com.docker.compose.service"}}|{{.State.Status}}|{{if .State.Health}}{{.State.Health.Status}}{{end}}|{{.RestartCount}}|{{.State.StartedAt}}|{{.State.Error}}' "$id" | tr '\n' ' ') || true # there is no end of line
    [ "$status/$health" != running/healthy ] || continue
    if [ -n "${error// /}" ]; then
      said=$(bind_error "$error")
    elif [ "$restarts" -gt 0 ]; then # it ends by itself, and the engine starts it again; between two starts, it runs
      if [ "$status" = running ]; then until=$started; else until=; fi
      said=$(docker logs --tail 20 ${until:+--until "$until"} "$id" 2>&1 | last_line)
      status=restarting
    elif [ "$status" = running ]; then
      said=$(docker inspect --format '{{if .State.Health}}{{range .State.Health.Log}}{{.Output}}{{println}}{{end}}{{end}}' "$id" | last_line)
    else
      said=$(docker logs --tail 20 "$id" 2>&1 | last_line)
    fi
    printf '%s: %s is %s: %s\n' "${0##*/}" "$service" "$(state_of "$status" "$health")" "$(printable <<<"${said:-it gave no reason}")"
  done < <(compose ps --all --quiet "$@")
}

state_of() { # state_of STATUS HEALTH
  if [ "$1" = running ] && [ -n "$2" ]; then echo "$2"; else echo "$1"; fi
}

printable() {
  tr -d '\000-\010\013-\037\177'
}

# What the engine said about a port that can't be had, in a sentence that says who has it.
bind_error() { # bind_error TEXT
  local port="" holder
  [[ ! $1 =~ [].0-9]:([0-9]+) ]] || port=${BASH_REMATCH[1]} # the first address in it, as in 0.0.0.0:80
  case $1 in
  *"already allocated"* | *"already in use"*)
    holder=$(holder_of "${port:-0}")
    echo "port ${port:-80 or 443} is taken by ${holder:-another program (sudo ss -ltnp names it)}: stop that, and run this again"
    ;;
  *"privileged port"* | *"bind: permission denied"*)
    echo "the engine is rootless, and may not use port ${port:-80}: run sudo sysctl net.ipv4.ip_unprivileged_port_start=80, and this again"
    ;;
  *) echo "$1" ;;
  esac
}

# --- Volumes ----------------------------------------------------------------------------------------------------------

# Those that hold what can't be made anew, as scripts/backup.sh copies them. The others are filled from them.
# shellcheck disable=SC2034 # for those who source this
volumes=(data certbot)
FAILED=1

die_failed() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit "$FAILED"
}

service_of() { # service_of VOLUME: the service that owns it
  case $1 in data) echo backend ;; *) echo "$1" ;; esac
}

# Runs volume.py in a new container of the service that owns the volume, and so as its user.
in_volume() { # in_volume VERB VOLUME [OPTION…]
  compose run -T --rm --no-deps --entrypoint python3 "$(service_of "$2")" -c "$(cat scripts/volume.py)" "$1" "$2" "/var/lib/callgate/$2" "${@:3}"
}
