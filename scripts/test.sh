#!/usr/bin/env bash
# test.sh [fast|edge|engine|all]: sets up what the tests need, and runs them. Says how long each part took.
#   fast    formatting, lint and types of everything; the unit and application tests. Under a minute.
#   edge    whole calls; what needs other programs: the real nginx, certbot, an ACME server and PostgreSQL; and the demo.
#   engine  the production bundle on a Docker engine: the one that is here, or one of the tests' own (tests/engine/up.sh).
#   all     all three, in this order. The default, and what CI runs.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

part=${1:-all}
[ $# -le 1 ] || die "it takes one word at most: fast, edge, engine or all"

fast() {
  need_venv
  say "formatting, lint, types"
  .venv/bin/ruff format --check --quiet .
  .venv/bin/ruff check --quiet .
  .venv/bin/mypy
  .venv/bin/shfmt -d -i 2 "${shell_scripts[@]}"
  .venv/bin/shellcheck -x -P SCRIPTDIR "${shell_scripts[@]}"
  say "unit and application tests"
  .venv/bin/python -m pytest -q --numprocesses 3 -m "not whole" tests/unit tests/app
}

edge() {
  need_packages ca-certificates curl nginx openssl pebble alsa-utils postgresql
  need_venv
  say "store tests: SQLite and PostgreSQL"
  .venv/bin/python -m pytest -q --numprocesses 2 tests/store
  say "whole calls"
  .venv/bin/python -m pytest -q --numprocesses 3 -m whole tests/app
  say "edge tests: nginx, certbot, ACME server"
  .venv/bin/python -m pytest -q --numprocesses 3 tests/edge
}

engine() {
  need_venv
  say "a Docker engine, and the images that the bundle starts from"
  local client
  client=$(tests/engine/up.sh)
  # What ran before goes on running.
  case $client in *CALLGATE_ENGINE_STARTED=*) trap tests/engine/down.sh EXIT ;; esac
  say "engine tests: the production bundle"
  .venv/bin/python -m pytest -q --durations=20 --durations-min=3 tests/engine
}

timed() { # timed PART
  local began=$SECONDS
  "$1"
  say "$1: passed in $((SECONDS - began)) s"
}

shell_scripts=(scripts/*.sh bench/run bench/profile bench/faults bench/siege bench/lib.sh .ci/run deploy/nginx/entrypoint deploy/certbot/issue deploy/certbot/hooks/* tests/engine/*.sh
  tests/engine/bin/*)

case $part in
fast | edge | engine) timed "$part" ;;
all)
  timed fast
  timed edge
  timed engine
  say "all: passed in $SECONDS s"
  ;;
*) die "there is no part '$part': fast, edge, engine or all" ;;
esac
