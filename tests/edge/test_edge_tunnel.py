"""Behind a tunnel: another party terminates TLS under its own name, and forwards requests as plain HTTP.

The tunnel here does what ngrok's and Cloudflare's agents do: it connects to the backend's own port, with or without the
public name in Host, and adds its own X-Forwarded headers. There is no nginx, and no certificate of this project.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from demo.local_edge import LOOPBACK
from support.edge.pairs import Authority
from support.project import ROOT
from support.serve_process import Backend, backend

NAME = "callgate-rehearsal.ngrok-free.app"
AUTH_TOKEN = "the-auth-token-of-this-account"
RECORDING = Path("/usr/share/sounds/alsa/Front_Center.wav")
CALL_TIMEOUT = 60.0
HEAD_TIMEOUT = 10.0

AUTHORITY = Authority()


class Tunnel:
    """Terminates TLS for ``NAME``, and forwards each connection (one request or one WebSocket) to ``backend_port``."""

    def __init__(self, backend_port: int, host: str) -> None:
        self._backend_port, self._host = backend_port, host
        self._open: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        with contextlib.closing(writer):
            async with asyncio.timeout(HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                backend_reader, backend_writer = await asyncio.open_connection(LOOPBACK, self._backend_port)
            with contextlib.closing(backend_writer):
                backend_writer.write(self._own_head(head))
                await asyncio.gather(_copy(reader, backend_writer), _copy(backend_reader, writer))

    def _own_head(self, head: bytes) -> bytes:
        request, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        upgrades = any(line.lower().startswith(b"upgrade:") for line in lines)
        ours = (b"host:", b"x-forwarded", *(() if upgrades else (b"connection:",)))
        kept = [line for line in lines if not line.lower().startswith(ours)]
        kept += [f"Host: {self._host}".encode(), b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https"]
        kept += [f"X-Forwarded-Host: {NAME}".encode(), *([] if upgrades else [b"Connection: close"])]
        return b"\r\n".join([request, *kept, b"", b""])

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError), contextlib.closing(writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def tunnel(folder: Path, backend_port: int, host: str) -> AsyncIterator[int]:
    """Run a tunnel to a backend, and yield the port of its public side."""
    AUTHORITY.issue(NAME).write(folder / "tunnel")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tunnel" / "fullchain.pem", folder / "tunnel" / "privkey.pem")
    agent = Tunnel(backend_port, host)
    server = await asyncio.start_server(agent.accept, LOOPBACK, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await agent.close()
        await server.wait_closed()


async def phone(folder: Path, port: int, *words: str) -> tuple[int, str]:
    """Run ``callgate phone`` with a call to https://NAME/incoming-call, and return its exit code and output."""
    (folder / "ca.pem").write_bytes(AUTHORITY.pem)
    environ = {"BASE_URL": f"https://{NAME}", "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "callgate", "phone", "--connect-to", f"{LOOPBACK}:{port}", "--ca", "ca.pem", *words,
        cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(CALL_TIMEOUT):
            printed, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert process.returncode is not None
    return process.returncode, printed.decode()


Serve = Callable[[str], AbstractAsyncContextManager[tuple[Backend, int]]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Run ``callgate serve`` with a BASE_URL, and return the process and its port."""

    @contextlib.asynccontextmanager
    async def start(base_url: str) -> AsyncIterator[tuple[Backend, int]]:
        settings = {"BASE_URL": base_url, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "PORT": "0"}
        async with backend(tmp_path, **settings) as process:
            port = int((await process.reads(r"listening on http://\S+:(\d+)"))[1])
            yield process, port

    return start


async def test_a_call_through_a_tunnel_succeeds_whatever_host_the_tunnel_names(serve: Serve, tmp_path: Path) -> None:
    async with (
        serve(f"https://{NAME}") as (process, port),
        tunnel(tmp_path, port, NAME) as as_ngrok,
        tunnel(tmp_path, port, f"backend:{port}") as rewriting,
    ):
        words = ("--say", str(RECORDING), "--expect-echo")
        calls = await asyncio.gather(*(phone(tmp_path, public_port, *words) for public_port in (as_ngrok, rewriting)))
        assert [code for code, _ in calls] == [0, 0], calls
        await process.reads(rf"Creating Media Stream with URL: wss://{NAME}/media-stream")
        await process.reads("Media Stream WebSocket connection ACCEPTED from Twilio")


async def test_a_call_through_a_tunnel_that_base_url_does_not_name_is_refused_and_the_log_says_why(
    serve: Serve, tmp_path: Path
) -> None:
    async with serve("https://voice.example.com") as (process, port), tunnel(tmp_path, port, NAME) as public_port:
        code, printed = await phone(tmp_path, public_port, "--hold")
        assert code == 1, printed
        assert "Twilio error 11200" in printed
        line = await process.reads(r"POST /incoming-call refused with 403: (.*)")
    assert "https://voice.example.com/incoming-call" in line[1]
    assert "Twilio was given a URL that does not begin with BASE_URL" in line[1]


def test_the_page_names_only_profiles_and_settings_that_the_bundle_has() -> None:
    page, bundle = (ROOT / "docs/tunnels.md").read_text(), (ROOT / "docker-compose.prod.yml").read_text()
    profiles = set(re.findall(r"--profile (\w+)", page))
    assert profiles == {"ngrok", "cloudflare"}
    assert all(f"profiles: [{profile}]" in bundle for profile in profiles)
    for setting in ("BASE_URL", "NGROK_AUTHTOKEN", "CLOUDFLARED_TUNNEL_TOKEN"):
        assert f"{setting}=" in page
        assert f"${{{setting}:-}}" in bundle
