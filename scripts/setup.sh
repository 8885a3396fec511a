#!/usr/bin/env bash
# setup.sh [STEP…] [OPTION…]: set everything up until the number is answered. It asks for missing settings, checks them,
# writes .env, gets the certificate, starts the bundle, points the Twilio number here, and places the test call. Each of
# these steps can be run alone and repeated; --help says how. Exit status: 0 done, 1 a step could not be completed,
# 2 wrong usage.

invoked_from=$PWD
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_venv
exec .venv/bin/python -m callgate.operator.setup --invoked-from "$invoked_from" "$@"
