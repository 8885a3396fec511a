#!/usr/bin/env bash
# The functions that the scripts share, to be sourced. It sets strict mode, changes to the project's root, and defines:
#
#   say TEXT…                    print a line about what happens now
#   die TEXT…                    print one line about what is wrong and what to do, and exit with 1
#   need_packages PACKAGE…       install missing Debian packages; without root, print the command to run, and exit 3
#   need_venv                    create or update .venv, with requirements-dev.txt and Callgate itself
#   install_into VENV OPTION…    run `uv pip install OPTION…` with pip's settings, or pip if uv is not there

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"

EXIT_NOT_ROOT=3
PYTHON_WANTED=3.11
LOCK_TIMEOUT=900 # seconds; enough for a first set-up over a slow connection

# uv leaves modules to be compiled at their first import. If Python could not keep the result, every start would compile
# them again.
unset PYTHONDONTWRITEBYTECODE

say() {
  printf '==> %s\n' "$*"
}

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# --- Debian packages --------------------------------------------------------------------------------------------------

need_packages() {
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not installed: ${missing[*]} (on Debian and Ubuntu they are packages of that name)"

  if [ "$(id -u)" -ne 0 ]; then
    printf '%s: %s must be installed first. Run:\n' "${0##*/}" "${missing[*]}" >&2
    printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n' "${missing[*]}" >&2
    exit "$EXIT_NOT_ROOT"
  fi
  say "installing ${missing[*]}"
  install_packages "${missing[@]}"
}

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# In a subshell, so that its traps end with it.
install_packages() (
  export DEBIAN_FRONTEND=noninteractive
  keep_services_stopped
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends -o "DPkg::Lock::Timeout=$LOCK_TIMEOUT" "$@" >/dev/null
  # policy-rc.d keeps a service from being started now, but not at the next boot.
  local service
  for service in nginx postgresql knot; do
    case " $* " in *" $service "*) disable_service "$service" ;; esac
  done
)

# Packages start their services when they are installed, unless policy-rc.d forbids it; see invoke-rc.d(8). Callgate
# starts its own nginx, and a second one would occupy port 80. The tests start their own PostgreSQL.
keep_services_stopped() {
  local policy=/usr/sbin/policy-rc.d
  [ ! -e "$policy" ] || return 0
  # shellcheck disable=SC2064 # expand it now, while the variable exists
  trap "rm -f '$policy'" EXIT
  trap 'exit 130' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
}

disable_service() {
  if command -v systemctl >/dev/null; then
    systemctl disable --quiet "$1"
  else
    update-rc.d "$1" disable
  fi
}

# --- Python -----------------------------------------------------------------------------------------------------------

need_venv() {
  local python stamp=.venv/.set-up-from wanted
  # .venv may be emptied and refilled, which must not happen to a folder elsewhere that others may use.
  [ ! -L .venv ] || die ".venv is a symbolic link to $(readlink .venv), which would be overwritten: remove the link (rm .venv)"
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && ! can_make_venv python3; then
    need_packages python3 python3-venv
  fi
  python=$(find_python)
  # The location matters too: scripts in .venv contain it, and so does the link to Callgate's source.
  wanted=$(
    "$python" --version
    pwd
    sha256sum requirements-uv.txt requirements-dev.txt pyproject.toml
  )
  if is_set_up "$stamp" "$wanted"; then return 0; fi

  # If two scripts start at once, the second one waits, and then finds nothing left to do.
  exec {lock}<.
  flock --timeout "$LOCK_TIMEOUT" "$lock" || die "another script has been setting up .venv for $LOCK_TIMEOUT s: end it"
  if ! is_set_up "$stamp" "$wanted"; then
    say "setting up .venv"
    set_up_venv "$python"
    printf '%s\n' "$wanted" >"$stamp"
    rm .venv/.incomplete
  fi
  exec {lock}<&-
}

is_set_up() { # is_set_up STAMP WANTED
  [ ! -e .venv/.incomplete ] && [ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

find_python() {
  local candidate found=none
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$candidate" >/dev/null || continue
    if is_new_enough "$candidate"; then
      can_make_venv "$candidate" || die "$candidate lacks venv: sudo apt-get install -y $candidate-venv"
      echo "$candidate"
      return
    fi
    [ "$found" != none ] || found=$("$candidate" --version 2>&1)
  done
  die "found $found, wanted Python $PYTHON_WANTED or later: install it, for example python3 and python3-venv of Debian 12"
}

is_new_enough() {
  "$1" -c "import sys; sys.exit(sys.version_info < (${PYTHON_WANTED/./, }))"
}

can_make_venv() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null
}

set_up_venv() { # set_up_venv PYTHON
  # A .venv that works is only updated; but not after an interruption, because an installer may count a package as
  # installed before it is complete.
  if [ -e .venv/.incomplete ] || ! venv_works_here; then make_venv "$1"; fi
  touch .venv/.incomplete
  if install_uv && fill_venv; then return 0; fi
  say "uv can't install the packages here; pip does, which takes a minute or two longer"
  make_venv "$1"
  touch .venv/.incomplete
  fill_venv || die "pip can't install into .venv: the reason is above"
}

make_venv() { # make_venv PYTHON
  "$1" -m venv --clear .venv || die "$1 can't make .venv: the reason is above"
}

# Programs in .venv/bin contain the path for which they were made. In a copied project, they point to the original.
venv_works_here() {
  .venv/bin/python -m pip --version >/dev/null 2>&1 || return 1
  case $(head -n 1 .venv/bin/pip) in "#!$PWD/.venv/bin/python"*) return 0 ;; *) return 1 ;; esac
}

# Only as a wheel: if there is none, compiling uv would take far longer than installing with pip.
install_uv() {
  .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check --require-hashes --only-binary :all: \
    -r requirements-uv.txt
}

fill_venv() {
  install_into .venv --require-hashes -r requirements-dev.txt &&
    install_into .venv --no-deps --no-build-isolation --editable .
}

install_into() { # install_into VENV OPTION…: with options that `uv pip install` and `pip install` share
  local venv=$1 setting environ=() options=()
  shift
  if [ -x .venv/bin/uv ]; then
    while read -r setting; do
      case $setting in --*) options+=("$setting") ;; *) environ+=("$setting") ;; esac
    done < <(.venv/bin/python -m pip config list | .venv/bin/python scripts/pip_settings.py)
    env ${environ[@]+"${environ[@]}"} .venv/bin/uv pip install --quiet --python "$venv/bin/python" \
      ${options[@]+"${options[@]}"} "$@"
  else
    .venv/bin/python -m pip --python "$venv/bin/python" install -qq --no-input --disable-pip-version-check "$@"
  fi
}
