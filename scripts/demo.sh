#!/usr/bin/env bash
# demo.sh [--say FILE.wav] [--stay] [--json] [--out FOLDER]: place one call through everything that a real call passes
# (TLS with a certificate that certbot got from an ACME server, nginx, the backend, a realtime model), on this machine
# alone, with no account and no key. It installs what it needs, and leaves nothing running. Safe to run again.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

invoked_from=$OLDPWD
case " $* " in *" --json "*) exec 3>&1 1>&2 ;; *) exec 3>&1 ;; esac
need_packages ca-certificates nginx openssl pebble alsa-utils
need_venv
export CALLGATE_DEMO_FROM=$invoked_from PYTHONPATH=scripts${PYTHONPATH:+:$PYTHONPATH}
exec .venv/bin/python -m demo "$@" 1>&3
