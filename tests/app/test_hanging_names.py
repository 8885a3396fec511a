"""Host names of tools whose look-up hangs: calls, and all other look-ups, are unaffected."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from callgate.outbound.twilio_calls import REST_THREADS, TwilioCalls
from support.fake_openai import FakeOpenAI, Script, asking, say, tone, tools
from support.project import ROOT
from support.service import config_for, running
from support.tool_server import tool_server

GREETING = tone(0.3, 440)
WORDS = tone(0.5, 300)
PAUSE = b"\xff" * 8000
HANGING = 7
AGENTS = """
[default]
instructions = "You look parcels up."
""" + "".join(
    f"""
[[default.http]]
name = "find_{number}"
description = "Where a parcel is."
url = "https://{{}}/echo"
timeout_seconds = 30
"""
    for number in range(HANGING + 1)
)


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Make look-ups of names in ``.test`` hang until the returned event is set."""
    real, let_go = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".test"):
            let_go.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield let_go
    let_go.set()


async def test_other_tools_run_and_the_next_call_is_answered(fake: FakeOpenAI, tmp_path, monkeypatch, let_go):
    """The second call's model session needs a look-up too. The shared thread pool is as small as uvloop's."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    async with tool_server(tmp_path, name="localhost") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificates.ca))
        hosts = [f"{number}.example.test" for number in range(HANGING)] + [f"localhost:{server.port}"]
        (tmp_path / "agents.toml").write_text(AGENTS.format(*hosts))
        fake.script = Script((say(GREETING), tools(*(asking(f"find_{number}") for number in range(HANGING + 1)))))
        settings = {"HTTP_TOOLS_ALLOW": hosts[-1], "AGENTS_FILE": str(tmp_path / "agents.toml")}
        url = fake.url.replace("127.0.0.1", "localhost")
        async with running(config_for(url, tmp_path, **settings)) as service, service.stream() as line:
            try:
                await line.hear(GREETING)
                await line.say(WORDS + PAUSE)
                async with asyncio.timeout(10):
                    await server.arrived.wait()
                async with service.stream() as other:
                    await other.hear(GREETING)
                async with asyncio.timeout(10):
                    await asyncio.to_thread(lambda: None)
            finally:
                let_go.set()


async def test_requests_to_twilio_that_hang_leave_the_threads_that_everybody_shares():
    """The database's driver looks its server up in those threads, and the store is opened in them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    let_go = threading.Event()

    class Hanging:
        def calls(self, call_sid: str) -> Any:
            let_go.wait()
            raise OSError

    twilio = TwilioCalls(Hanging(), "https://voice.example.com")  # type: ignore[arg-type]
    asking = [asyncio.create_task(twilio.status("CA1")) for _ in range(3 * REST_THREADS)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            await asyncio.to_thread(lambda: None)
            await asyncio.get_running_loop().getaddrinfo("localhost", 5432)
    finally:
        let_go.set()
        await asyncio.gather(*asking, return_exceptions=True)


# The same with the system's resolver, and a name server that never answers.

IN_A_NAMESPACE = """
ip link set lo up
printf 'nameserver 127.0.0.1\\noptions timeout:30 attempts:5\\n' >"$1/resolv.conf"
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)"
exec "$2" "$3"
"""
PROGRAM = """
import asyncio, os, socket, sys
import uvloop
from callgate.core.agent import Agent
from callgate.errors import ToolError
from callgate.tools.http_tools import HttpTools
from callgate.models.endpoints import Endpoint
from callgate.core.tools.toolbox import HttpTool
from callgate.core.turns.briefing import opening
from callgate.models.upstream import Upstream
from support.fake_openai import FakeOpenAI

async def main():
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    asked, two = set(), asyncio.Event()

    def is_asked():
        asked.add(names.recv(512)[13:14])
        if len(asked) == 2:  # as many as uvloop looks up at once
            two.set()

    asyncio.get_running_loop().add_reader(names, is_asked)
    http = HttpTools()
    made = [HttpTool("a", "b", {"type": "object"}, f"https://{n}.example.test/", timeout=30) for n in range(8)]
    asking = [asyncio.create_task(http.run(tool, {})) for tool in made]
    await two.wait()
    print("hanging", flush=True)
    async with FakeOpenAI() as fake:
        url = fake.url.replace("127.0.0.1", "localhost")
        upstream = Upstream([Endpoint("the model", f"{url}?model=m", {"Authorization": "Bearer the-key-of-the-fake"})])
        model = await upstream.open([opening(Agent("Be brief.", "marin", "Hello!"))])
        await asyncio.get_running_loop().getaddrinfo("localhost", 5432)
        await model.close()
    assert not any(task.done() for task in asking)
    print("a session was opened", flush=True)
    os._exit(0)  # nobody waits for what still hangs

uvloop.run(main())
"""


@pytest.mark.whole
@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs the right to make namespaces",
)
def test_a_name_server_that_never_answers_keeps_no_session_from_opening(tmp_path: Path):
    (tmp_path / "program.py").write_text(PROGRAM)
    program = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-e", "-c", IN_A_NAMESPACE, "sh", str(tmp_path), *program],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT / "tests")},
    )  # fmt: skip
    assert done.stdout == "hanging\na session was opened\n", done.stderr
