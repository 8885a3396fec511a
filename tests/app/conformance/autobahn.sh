#!/usr/bin/env bash
# autobahn.sh [--path fast|ordinary] [--cases PATTERN,…] [--out DIR]: runs Autobahn's fuzzing client, a conformance suite
# of RFC 6455, against `websocket-echo.sh` on this machine. It prints each case that was not passed strictly, and fails
# where one was not passed at all. The report is in DIR/index.html (autobahn-out by default).
#
# The suite runs on Python 2.7 alone, or PyPy of that version: named by PYTHON2, or on PATH. Its packages come from PyPI,
# into .venv/autobahn.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/lib.sh"

SUITE=autobahntestsuite==25.10.1
VIRTUALENV=virtualenv==20.21.1 # the last that makes an environment of Python 2.7

path=fast cases='*' out=autobahn-out
while [ $# -gt 0 ]; do
  case $1 in
  --path | --cases | --out)
    [ $# -gt 1 ] || die "$1 needs a value"
    printf -v "${1#--}" %s "$2"
    shift 2
    ;;
  *) die "there is no option $1: --path fast|ordinary, --cases PATTERN,…, --out DIR" ;;
  esac
done

is_python2() {
  "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null
}

python2=
for candidate in ${PYTHON2:+"$PYTHON2"} python2.7 python2 pypy; do
  if is_python2 "$candidate"; then
    python2=$candidate
    break
  fi
done
[ -n "$python2" ] ||
  die "Autobahn's suite needs Python 2.7, or PyPy of that version: set PYTHON2 to one. tests/app/conformance needs none"

need_venv
wstest=.venv/autobahn/bin/wstest
if [ ! -x "$wstest" ]; then
  say "setting up $SUITE"
  rm -rf .venv/autobahn .venv/virtualenv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --target .venv/virtualenv "$VIRTUALENV"
  PYTHONPATH=.venv/virtualenv .venv/bin/python -m virtualenv --quiet --python "$(command -v "$python2")" .venv/autobahn
  .venv/autobahn/bin/python -m pip install --quiet --disable-pip-version-check "$SUITE"
fi

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
mkfifo "$work/address"
.venv/bin/python tests/support/conformance/websocket_echo.py --path "$path" >"$work/address" &
server=$!
read -r address <"$work/address"

.venv/bin/python - "$address" "$cases" "$path" "$out" >"$work/spec.json" <<'PYTHON'
import json, sys
address, cases, path, out = sys.argv[1:]
print(json.dumps({"outdir": out, "servers": [{"agent": path, "url": address}], "cases": cases.split(","),
                  "exclude-cases": [], "exclude-agent-cases": {}}))
PYTHON

say "running the cases $cases on the $path path"
"$wstest" --mode fuzzingclient --spec "$work/spec.json" >"$work/log" 2>&1 || die "wstest failed: $(tail -n 3 "$work/log")"

.venv/bin/python - "$out/index.json" "$path" <<'PYTHON'
import collections, json, sys
with open(sys.argv[1]) as report:
    cases = json.load(report)[sys.argv[2]]
found = collections.Counter()
for name, case in sorted(cases.items(), key=lambda each: [int(part) for part in each[0].split(".")]):
    verdicts = {case["behavior"], case["behaviorClose"]}
    worst = next(
        (each for each in ("FAILED", "UNCLEAN", "WRONG CODE", "NON-STRICT", "UNIMPLEMENTED", "INFORMATIONAL")
         if each in verdicts), "OK")
    found[worst] += 1
    if worst not in ("OK", "UNIMPLEMENTED", "INFORMATIONAL"):
        print(f"{name:8} {case['behavior']}, at its end {case['behaviorClose']}")
print(", ".join(f"{count} {verdict}" for verdict, count in found.most_common()))
sys.exit(any(found[verdict] for verdict in ("FAILED", "UNCLEAN", "WRONG CODE")))
PYTHON
