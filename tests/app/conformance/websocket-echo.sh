#!/usr/bin/env bash
# websocket-echo.sh [--port N] [--path fast|ordinary] [--message-limit BYTES]: Callgate's side of a WebSocket as an echo
# server on this machine, for any conformance suite of RFC 6455. It prints its address, ws://127.0.0.1:N, and serves text
# and binary on any path of it until SIGTERM or ^C. `fast` is how Media Streams are served; `ordinary` is how they are
# where the installed Hypercorn does not hand its connections over.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/lib.sh"

need_venv
exec .venv/bin/python tests/support/conformance/websocket_echo.py "$@"
