#!/usr/bin/env bash
# What run and profile share: source it. It sources ../scripts/lib.sh, and has everything installed.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

need_venv
.venv/bin/python -c 'import fastapi, hatch_mypyc, picows, psutil, uvicorn' 2>/dev/null && [ -x .venv/bin/py-spy ] ||
  install_into .venv --require-hashes -r bench/requirements.txt

# The usual sample's own versions. bench/contenders.py looks for it here.
sample=.venv/fastapi_sample
if ! cmp -s bench/relays/fastapi_sample.txt "$sample/installed.txt"; then
  say "setting up the usual sample's versions"
  rm -rf "$sample"
  .venv/bin/python -m venv --without-pip "$sample"
  install_into "$sample" --require-hashes -r bench/relays/fastapi_sample.txt
  cp bench/relays/fastapi_sample.txt "$sample/installed.txt"
fi

# The backend's image has the media path compiled, so that is what is measured: made from a copy, kept until a source
# changes. Sets compiled, the folder to import it from.
compile_callgate() {
  local key
  key=$(find pyproject.toml backend/callgate \( -name '*.py' -o -name '*.toml' \) -print0 | sort -z | xargs -0 cat | sha256sum)
  compiled=$PWD/.venv/compiled/${key:0:16}
  [ ! -d "$compiled" ] || return 0
  need_packages gcc libc6-dev
  [ -e "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || need_packages python3-dev
  say "compiling the media path"
  rm -rf .venv/compiled && mkdir -p .venv/compiled/source
  cp -r pyproject.toml README.md backend .venv/compiled/source
  HATCH_BUILD_HOOK_ENABLE_MYPYC=true install_into .venv --no-cache-dir --no-deps --no-build-isolation \
    --target "$compiled.new" .venv/compiled/source
  rm -rf .venv/compiled/source && mv "$compiled.new" "$compiled"
}

compile_callgate

# Where the programs that the bench starts are found.
export PYTHONPATH=$compiled:scripts:tests${PYTHONPATH:+:$PYTHONPATH}
