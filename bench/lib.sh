#!/usr/bin/env bash
# What run and profile share: source it. It sources ../scripts/lib.sh, and has everything installed.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

need_venv
.venv/bin/python -c 'import fastapi, picows, psutil, uvicorn' 2>/dev/null && [ -x .venv/bin/py-spy ] ||
  pip_install --require-hashes -r bench/requirements.txt

# Where the programs that the bench starts besides the relays are found.
export PYTHONPATH=scripts:tests/edge${PYTHONPATH:+:$PYTHONPATH}
