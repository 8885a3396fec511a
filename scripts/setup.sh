#!/usr/bin/env bash
# setup.sh [STEP…] [OPTION…]: from nothing to a number that is answered. It asks for what is missing, checks it, writes
# .env, gets the certificate, starts the bundle, points the Twilio number here, and places the test call; each of these
# can be run alone, and again. --help says how. Exit status: 0 done, 1 a step did not go on, 2 wrong usage.

invoked_from=$PWD
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_venv
exec .venv/bin/python -m callgate.operator.setup --invoked-from "$invoked_from" "$@"
