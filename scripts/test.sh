#!/usr/bin/env bash
# test.sh [fast|edge|engine|all]: set up what the tests need, run them, and say how long each part took.
#   fast    formatting, lint and types of everything; the unit and application tests. Under a minute.
#   edge    whole calls; tests that need other programs: nginx, certbot, an ACME server and PostgreSQL; and the demo.
#   engine  the production bundle on a Docker engine: this machine's, or one for the tests alone (tests/engine/up.sh).
#   all     all three, in this order. This is the default, and what CI runs.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

part=${1:-all}
starting=   # the process that starts the engine
engine_log= # its output, while other tests run
edge_packages=(ca-certificates curl nginx openssl pebble knot alsa-utils postgresql)
[ $# -le 1 ] || die "it takes one word at most: fast, edge, engine or all"

fast() {
  need_venv
  say "formatting, lint"
  .venv/bin/ruff format --check --quiet .
  .venv/bin/ruff check --quiet .
  .venv/bin/shfmt -d -i 2 "${shell_scripts[@]}"
  .venv/bin/shellcheck -x -P SCRIPTDIR "${shell_scripts[@]}"
  say "unit and application tests; type checks at the same time"
  local types=.venv/types.log checking status=0
  .venv/bin/mypy >"$types" 2>&1 &
  checking=$!
  .venv/bin/python -m pytest -q --numprocesses 3 -m "not whole" tests/unit tests/app || status=$?
  wait "$checking" || status=$?
  cat "$types"
  return "$status"
}

edge() {
  need_packages "${edge_packages[@]}"
  need_venv
  say "store tests: SQLite and PostgreSQL"
  .venv/bin/python -m pytest -q --numprocesses 2 tests/store
  say "whole calls"
  .venv/bin/python -m pytest -q --numprocesses 3 -m whole tests/unit tests/app
  say "edge tests: nginx, certbot, ACME server"
  .venv/bin/python -m pytest -q --numprocesses 3 tests/edge
}

engine() {
  need_venv
  say "a Docker engine, and the images that the bundle starts from"
  [ -n "$starting" ] || start_engine
  local status=0
  wait "$starting" || status=$?
  [ -z "$engine_log" ] || cat "$engine_log" >&2
  [ "$status" -eq 0 ] || exit "$status"
  say "engine tests: the production bundle"
  # Each file starts its own bundles, and waits for them most of the time.
  .venv/bin/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=20 --durations-min=3 \
    tests/engine
}

# The engine and the images are prepared in a session of their own, so that the whole process group can be ended with
# this script.
start_engine() {
  engine_client=$(mktemp)
  # shellcheck disable=SC2016 # $0 is expanded by the shell that is started here
  setsid bash -c 'tests/engine/up.sh >"$0" && PYTHONPATH=tests exec .venv/bin/python -m support.engine.images "$0"' \
    "$engine_client" </dev/null &
  starting=$!
  trap end_engine EXIT
}

# End only the engine that this script has started.
end_engine() {
  if kill -- "-$starting" 2>/dev/null; then wait "$starting" || true; fi
  if grep -q CALLGATE_ENGINE_STARTED= "$engine_client"; then tests/engine/down.sh; fi
  rm -f "$engine_client" "$engine_log"
}

timed() { # timed PART
  local began=$SECONDS
  "$1"
  say "$1: passed in $((SECONDS - began)) s"
}

shell_scripts=(scripts/*.sh tests/app/conformance/*.sh bench/run bench/certificates bench/profile bench/conversations bench/faults bench/siege bench/lib.sh .ci/run deploy/nginx/entrypoint deploy/nginx/shell/*.sh deploy/certbot/issue deploy/certbot/hooks/* tests/engine/*.sh
  tests/engine/bin/*)

case $part in
fast | edge | engine) timed "$part" ;;
all)
  need_packages "${edge_packages[@]}"
  need_venv
  engine_log=$(mktemp)
  start_engine 2>"$engine_log" # it mostly waits for a mirror, so other tests run meanwhile
  timed fast
  timed edge
  timed engine
  say "all: passed in $SECONDS s"
  ;;
*) die "there is no part '$part': fast, edge, engine or all" ;;
esac
