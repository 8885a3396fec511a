"""Places one call through the whole path on this machine. scripts/demo.sh installs what this needs, and runs it.

    the phone ── TLS ──▶ nginx ──▶ backend ──▶ line check
                          ▲ a certificate from Pebble, by certbot's http-01

Only the two companies are simulated: Twilio by ``callgate phone``, OpenAI by the line check. Everything between them is
what runs in production. Exit code: 0 if the caller heard their own words, 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from callgate.config.sources import rehearsal_token
from callgate.errors import CallgateError

from .local_edge import LOOPBACK, LocalEdge, Program, free_ports, last_lines

DOMAIN = "callgate.example"
RECORDING = Path("/usr/share/sounds/alsa/Front_Center.wav")
CORRELATION_WANTED = 0.95
CALL_TIMEOUT = 150.0  # seconds
BIN = Path(sys.executable).parent

# The log lines of a call that an operator looks for, in order.
LANDMARKS = (
    "Creating Media Stream with URL",
    "MEDIA STREAM WEBSOCKET ENDPOINT HIT!",
    "connection ACCEPTED from Twilio",
    "Attempting to connect to",
    "Connected to",
    "Stream started",
    "Stream ended",
)


class DemoError(CallgateError):
    """A step of the demo failed."""


class Demo:
    """Starts the stack, places the call, and collects the results in ``found``."""

    def __init__(self, out: Path, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._began = time.monotonic()
        self.found: dict[str, Any] = {}

    def say(self, text: str) -> None:
        """Print a line, with the seconds since the start."""
        stream = sys.stderr if self._quiet else sys.stdout
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", file=stream, flush=True)

    def start(self, stack: ExitStack) -> tuple[LocalEdge, Program]:
        """Start the backend, nginx and the ACME server, and have certbot get the certificate."""
        edge = stack.enter_context(LocalEdge(DOMAIN))
        backend, port = self._start_backend(edge, stack)
        edge.start_nginx(port)
        self.say(
            f"nginx answers on {LOOPBACK}:{edge.http_port} (http) and :{edge.https_port} (https, no certificate yet)"
        )
        edge.start_acme()
        self.say("the ACME server (Pebble) and its DNS server answer")
        edge.issue()
        certificate = edge.served_certificate()  # from a handshake, verified with the ACME server's root
        self.found["certificate"] = {
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "verified": True,
        }
        self.say(f"certbot got a certificate for {DOMAIN} by http-01; nginx serves it, and it verifies")
        self.say(f"  issuer {self.found['certificate']['issuer']}, serial {self.found['certificate']['serial']}")
        return edge, backend

    def _start_backend(self, edge: LocalEdge, stack: ExitStack) -> tuple[Program, int]:
        (port,) = free_ports(1)
        log = edge.logs / "backend.log"
        environ = {
            "PATH": os.environ["PATH"],
            "DOMAIN": DOMAIN,
            "PORT": str(port),
            "DATA_DIR": str(edge.state / "data"),
        }
        argv = [str(BIN / "callgate"), "serve", "--env-file", os.devnull]
        backend = Program("backend", argv, environ=environ, stdout=log, stderr=log)
        stack.callback(backend.stop)
        url = f"http://{LOOPBACK}:{port}/readyz"
        backend.wait_until(lambda: _answers(url))
        self.say(f"the backend (callgate serve) is ready on {LOOPBACK}:{port}; the line check is its model")
        return backend, port

    def call(self, edge: LocalEdge, backend: Program, recording: Path) -> None:
        """Place the call with `callgate phone`, which checks what was heard."""
        self._out.mkdir(parents=True, exist_ok=True)
        self.say(f"callgate phone calls https://{DOMAIN}/incoming-call and says {recording.name}")
        argv = [str(BIN / "callgate"), "phone", *phone_options(edge), "--say", str(recording), "--expect-echo"]
        argv += ["--live", "--json"]  # events go to standard error as they happen; the report is in the file
        for option, name in (("--record", "call.wav"), ("--timeline", "timeline.json"), ("--picture", "timeline.png")):
            argv += [option, str(self._out / name)]
        stream = sys.stderr if self._quiet else sys.stdout
        # Run it in the state folder, so that no .env of a real installation is read.
        done = subprocess.run(argv, env=_phone_environ(edge), cwd=edge.state, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=stream, timeout=CALL_TIMEOUT)  # fmt: skip
        if done.returncode == 2:
            raise DemoError("the call could not be placed: the reason is above")
        report = json.loads((self._out / "timeline.json").read_text())
        self.found["call"] = _summary(report)
        self.found["files"] = [str(self._out / name) for name in ("call.wav", "timeline.json", "timeline.png")]
        self._show_log(backend)
        if done.returncode:
            raise DemoError(
                f"a promise was not kept: the lines above say which. The backend's log:\n{last_lines(backend.log)}"
            )
        if (correlation := self.found["call"]["correlation"]) < CORRELATION_WANTED:
            raise DemoError(f"what was heard is not what was said: correlation {correlation:.3f}")

    def _show_log(self, backend: Program) -> None:
        self.say("what the operator reads meanwhile:")
        for line in backend.log.read_text().splitlines():
            if any(landmark in line for landmark in LANDMARKS):
                self.say(f"  {line}")

    def show_summary(self) -> None:
        """Print what the demo has shown."""
        call, certificate = self.found["call"], self.found["certificate"]
        for label, text in (
            ("certificate", f"issued by {certificate['issuer']} through certbot, verified in the handshake"),
            ("said and heard", f"correlation {call['correlation']:.3f} (wanted {CORRELATION_WANTED})"),
            ("first audio", f"{_ms(call['first_audio_s'])} after the stream's start"),
            ("reply", f"{_ms(call['reply_s'])} after the caller's last word"),
            ("written", ", ".join(self.found["files"])),
        ):
            self.say(f"{label:>15}: {text}")


def phone_options(edge: LocalEdge) -> list[str]:
    """Return the options that tell `callgate phone` where the edge is."""
    return ["--to", f"https://{DOMAIN}/incoming-call", "--connect-to", f"{LOOPBACK}:{edge.https_port}",
            "--ca", str(edge.ca_file)]  # fmt: skip


def _phone_environ(edge: LocalEdge) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DATA_DIR": str(edge.state / "data"), "MPLCONFIGDIR": str(edge.state)}


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    call, echo = report["calls"][0], report["echo"] or {}
    latencies = [utterance["latency"] for utterance in call["utterances"]]
    return {
        "kept": report["kept"],
        "correlation": echo.get("own") or 0.0,
        "first_audio_s": call["first_audio"],
        "reply_s": latencies[0] if latencies else None,
        "seconds": call["seconds"],
    }


def _ms(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds * 1000:.0f} ms"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def _stay(edge: LocalEdge, backend: Program) -> NoReturn:
    print(
        f"""
It stays until Ctrl-C.
  URL               https://{DOMAIN}/  (at {LOOPBACK}:{edge.https_port})
  CA file           {edge.ca_file}
  test auth token   {rehearsal_token(edge.state / "data")}
  logs              {edge.logs}
Another call, from another terminal:
  DATA_DIR={edge.state / "data"} {BIN / "callgate"} phone \\
    {" ".join(phone_options(edge))} --say {RECORDING} --expect-echo
Look at it with curl:
  curl --cacert {edge.ca_file} --connect-to {DOMAIN}:443:{LOOPBACK}:{edge.https_port} https://{DOMAIN}/
""",
        flush=True,
    )
    while all(program.running for program in (backend, *edge.programs)):
        time.sleep(0.2)
    raise DemoError("a program ended by itself; its log is above, or in the logs folder")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _recording(path: Path) -> Path:
    path = Path(os.environ.get("CALLGATE_DEMO_FROM", ".")) / path
    if not path.is_file():
        raise DemoError(f"there is no recording {path}: name a WAV file with --say")
    return path.resolve()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo.sh", description="One call through the whole path, on this machine."
    )
    parser.add_argument("--say", type=Path, default=RECORDING, metavar="FILE.wav", help="what the caller says")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="FOLDER", help="where files go (demo-out)"
    )
    parser.add_argument("--stay", action="store_true", help="keep all running for more calls, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print only what was found, as JSON")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    demo = Demo(args.out.resolve(), quiet=args.json)
    try:
        with ExitStack() as stack:
            recording = _recording(args.say)
            edge, backend = demo.start(stack)
            demo.call(edge, backend, recording)
            demo.show_summary()
            if args.stay:
                _stay(edge, backend)
    except KeyboardInterrupt:
        demo.say("ended; nothing is left running")
        return 0 if args.stay and "call" in demo.found else 130
    except (CallgateError, OSError, subprocess.TimeoutExpired) as exc:
        print(f"FAILED: {exc}", file=sys.stderr)
        if args.json:
            print(json.dumps({"success": False, "error": str(exc), **demo.found}, indent=2, ensure_ascii=False))
        return 1
    if args.json:
        print(json.dumps({"success": True, **demo.found}, indent=2, ensure_ascii=False))
    demo.say("SUCCESS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
