#!/usr/bin/env bash
# test.sh [fast|edge|all]: sets up what the tests need, and runs them.
#   fast  formatting, lint and types of everything; the unit and application tests. Under a minute.
#   edge  what needs the real nginx, certbot and an ACME server: the edge's tests, and the demo.
#   all   both, in this order. The default, and what CI runs.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

part=${1:-all}
[ $# -le 1 ] || die "it takes one word at most: fast, edge or all"

fast() {
  need_venv
  say "formatting, lint, types"
  .venv/bin/ruff format --check --quiet .
  .venv/bin/ruff check --quiet .
  .venv/bin/mypy
  .venv/bin/shfmt -d -i 2 "${shell_scripts[@]}"
  .venv/bin/shellcheck -x -P SCRIPTDIR "${shell_scripts[@]}"
  say "unit and application tests"
  .venv/bin/python -m pytest -q --numprocesses 3 tests/unit tests/app
}

edge() {
  need_packages ca-certificates nginx openssl pebble alsa-utils
  need_venv
  say "edge tests: nginx, certbot, ACME server"
  .venv/bin/python -m pytest -q tests/edge
}

shell_scripts=(scripts/*.sh .ci/run deploy/nginx/entrypoint deploy/certbot/issue deploy/certbot/hooks/*)

case $part in
fast) fast ;;
edge) edge ;;
all)
  fast
  edge
  ;;
*) die "there is no part '$part': fast, edge or all" ;;
esac
