#!/usr/bin/env bash
# doctor.sh [OPTION…]: check the whole chain of a call from the outside in, and report problems first. Changes nothing.
#
# While the bundle is up, this runs in a container beside its backend, with the current .env; otherwise from .venv. It
# works before the bundle is up too, and says so. The options are those of `callgate doctor`. Exit status: 0 no problem,
# 1 a problem, 2 the checks can't be run.
#
# Environment:
#   CALLGATE_COMPOSE_OVERRIDE    an additional compose file

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bundle.sh
source scripts/bundle.sh

is_up() {
  [ -n "$(compose ps --quiet 2>/dev/null)" ]
}

# A new container, because the backend's still has the .env with which it was started; the backend is reached by its
# name. -T: no terminal, so that this also works in cron and CI. The container has no .env, so it is given the file's
# mode, and its text on standard input.
in_container() {
  local mode
  if mode=$(stat -Lc %a .env 2>/dev/null); then
    compose run -T --rm --no-deps -e HOST=backend -e "DOCTOR_ENV_MODE=$mode" backend callgate doctor --env-file - "$@" <.env
  else
    compose run -T --rm --no-deps -e HOST=backend backend callgate doctor "$@"
  fi
}

# Where there is no docker, the bundle is not what runs here. A docker that can't run it is the first thing to say.
has_bundle=no
if command -v docker >/dev/null; then
  problem=$(engine_problem)
  if [ -z "$problem" ]; then has_bundle=yes; else printf 'doctor.sh: %s\n' "$problem" >&2; fi
fi

if [ $has_bundle = yes ] && is_up; then
  in_container "$@"
elif [ -x .venv/bin/callgate ] && .venv/bin/python -c 'import callgate.operator.doctor.checks' 2>/dev/null; then
  .venv/bin/callgate doctor "$@"
elif [ $has_bundle = yes ]; then
  in_container "$@"
else
  # shellcheck source=scripts/lib.sh
  source scripts/lib.sh
  need_venv >&2
  .venv/bin/callgate doctor "$@"
fi
