"""What is attacked: the real edge, a backend process and the model, with live calls, all on loopback.

Live calls, further callers and attackers each have their own address, or all share the attacker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from callgate.core.gate.signature import edge_proof
from callgate.core.wire.twiml import INCOMING, PROOF
from demo.local_program import LOOPBACK, free_ports

from bench.contenders import AUTH_TOKEN, CONTENDERS, DOMAIN, Relay
from bench.edge import Edge, Trust
from bench.generator import Caller
from bench.model import Load
from bench.rig import Rig
from bench.wire import ACCOUNT_SID

from .callers import READY
from .own_call import form_of
from .process import Process, process

LIVE, CALLERS, ATTACKER = "127.0.0.2", "127.0.0.3", "127.0.0.66"  # the addresses that they come from
FALLBACK_DIAL = "+15550009999"  # a 555 number, which belongs to nobody
EDGE_ENVIRON = {"FALLBACK_DIAL": FALLBACK_DIAL, "EDGE_KEY": AUTH_TOKEN}
ROOM = 25  # calls in addition to the live ones: real callers and the attack's own
FIRST = -10  # niceness of the measuring process, relative to what is measured
# Text that reveals a secret, which no answer to a stranger may contain.
SECRETS = {"FALLBACK_DIAL": FALLBACK_DIAL, "/readyz": '"live_calls"', "/metrics": "# TYPE ", "a stream": "<Stream"}
MB = 1e6


@dataclass(slots=True)
class Place:
    """Everything that takes part."""

    rig: Rig
    relay: Relay
    edge: Edge
    trust: Trust
    callers: Process  # further callers, who arrive on command
    rest: RestSink
    attacker: str  # the attacker's address

    @property
    def same_address(self) -> bool:
        """Whether everybody shares one address."""
        return self.rig.source == self.attacker

    def failing_edge(self) -> Edge:
        """Return a second edge, not yet started, whose backend is gone."""
        return Edge(self.trust, *free_ports(1), environ=EDGE_ENVIRON)

    def target(self, edge: Edge, *, signs: bool) -> dict[str, object]:
        """Return what an attacker is given (`attack.Target`). With ``signs``, it has calls of its own, which are
        answered."""
        live = next(iter(self.rig.callers.values()))
        return {
            "host": LOOPBACK,
            "http_port": edge.http_port,
            "https_port": edge.https_port,
            "name": DOMAIN,
            "ca": str(self.trust.ca_file),
            "source": self.attacker,
            "auth_token": AUTH_TOKEN,
            "live": form_of(live.call_sid),
            "secrets": {} if signs else SECRETS,
        }

    def memory(self) -> tuple[float, float]:
        """Return the private memory of the backend and of nginx, in MB."""
        return _own(self.relay.pid) / MB, sum(map(_own, self.edge.pids())) / MB


def _own(pid: int) -> int:
    with contextlib.suppress(OSError):
        resident, shared = (int(word) for word in Path(f"/proc/{pid}/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    return 0


class _Elsewhere:
    """A caller in another process, which checks its own audio."""

    class _Way:
        def arrived(self, payload: bytes, now: float) -> None:
            pass

        forward = arrived

    to_model = to_caller = _Way()


_elsewhere = _Elsewhere()


class RestSink:
    """The proxy that receives the backend's requests to Twilio's REST API. It counts and refuses them."""

    def __init__(self) -> None:
        self.asked = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            writer.write(b"HTTP/1.1 502 Nobody\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Start the proxy, and yield its URL."""
        async with await asyncio.start_server(self._serve, LOOPBACK, 0) as server:
            yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def place(
    calls: int, *, callgate_path: str | None = None, same_address: bool = False, patient: bool = False
) -> AsyncIterator[Place]:
    """Set up everything with ``calls`` live calls, while the context lasts. Raises `BenchError`.

    ``patient``: the backend takes calls even if its event loop is late, as it is on a busy machine, and callers wait
    longer.
    """
    live, others = (ATTACKER, ATTACKER) if same_address else (LIVE, CALLERS)
    # nginx recognizes callers from the attacker's address by the proof that set-up adds to the number's webhook URL.
    incoming = f"{INCOMING}?{PROOF}={edge_proof(AUTH_TOKEN)}" if same_address else INCOMING
    rest = RestSink()
    async with contextlib.AsyncExitStack() as stack:
        trust = stack.enter_context(Trust())
        rig = await stack.enter_async_context(Rig(Load.ECHO, source=live))
        rig.model.find_caller = lambda number: rig.callers.get(number) or cast(Caller, _elsewhere)
        environ = {
            "MAX_CALLS": str(calls + ROOM),
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_PHONE_NUMBER": "+15550002222",
            "TEST_CALL_TO": "+15550003333",
            "ADMIN_TOKEN": "the-admin-token",
            "FALLBACK_DIAL": FALLBACK_DIAL,
            "HTTPS_PROXY": await stack.enter_async_context(rest.listening()),
            "NO_PROXY": LOOPBACK,
        }
        backend = CONTENDERS["callgate"]
        if patient:
            backend = replace(backend, module="bench.relays.callgate_patient")
        relay = Relay(backend, rig.model.url, callgate_path=callgate_path, environ=environ, core=None)
        await stack.enter_async_context(relay)
        edge = stack.enter_context(Edge(trust, relay.port, environ=EDGE_ENVIRON))
        await rig.set_calls(relay, calls, edge.door)
        told = {"host": LOOPBACK, "port": edge.https_port, "ca": str(trust.ca_file), "source": others}
        told |= {"incoming": incoming, "patient": patient}
        callers = await stack.enter_async_context(process("bench.sieges.callers", json.dumps(told), READY))
        stack.enter_context(_measuring_first())
        yield Place(rig, relay, edge, trust, callers, rest, ATTACKER)
        await rig.hang_up(list(rig.callers))


@contextlib.contextmanager
def _measuring_first() -> Iterator[None]:
    """Give the measuring process priority over what is measured, if permitted."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, max(before + FIRST, -20))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
