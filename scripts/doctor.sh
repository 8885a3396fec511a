#!/usr/bin/env bash
# doctor.sh [OPTION…]: looks at the whole chain of a call from outside in, and says what is wrong first. Changes nothing.
#
# Where the bundle runs, in a container beside its backend, with the .env of now; else from .venv. It works before the
# bundle is up, and says so. The options are those of `callgate doctor`. Exit status: 0 nothing is wrong, 1 something is,
# 2 it can't be looked at.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    one more compose file

set -euo pipefail

compose() {
  docker compose -f docker-compose.prod.yml ${CALLGATE_COMPOSE_OVERRIDE:+-f "$CALLGATE_COMPOSE_OVERRIDE"} "$@"
}

has_compose() {
  command -v docker >/dev/null && compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1
}

is_up() {
  [ -n "$(compose ps --quiet 2>/dev/null)" ]
}

# A container of its own: the backend's has the .env of when it was started. It asks that one by its name.
# -T: no terminal, so that it runs from cron and CI too. It has no .env, so it is told who can read that.
in_container() {
  local mode
  mode=$(stat -Lc %a .env 2>/dev/null) || mode=
  compose run -T --rm --no-deps -e HOST=backend ${mode:+-e "DOCTOR_ENV_MODE=$mode"} backend callgate doctor "$@"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if has_compose && is_up; then
  in_container "$@"
elif [ -x .venv/bin/callgate ] && .venv/bin/python -c 'import callgate.operator.doctor.examine' 2>/dev/null; then
  .venv/bin/callgate doctor "$@"
elif has_compose; then
  in_container "$@"
else
  # shellcheck source=scripts/lib.sh
  source scripts/lib.sh
  need_venv >&2
  .venv/bin/callgate doctor "$@"
fi
