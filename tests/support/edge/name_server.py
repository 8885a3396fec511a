"""A DNS server in a thread that answers as a test says, well or badly."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

LOOPBACK = "127.0.0.1"
SILENCE = "silence"
GARBAGE = "garbage"

# By "NAME TYPE": the records as text, or the name of an rcode (SERVFAIL, NXDOMAIN…), or SILENCE, or GARBAGE. A record
# may be a "CNAME other.example". What is not there is answered with no records.
Zone = Mapping[str, str | list[str]]


class NameServer(socketserver.ThreadingUDPServer):
    """The server; it answers while its context lasts."""

    daemon_threads = True

    def __init__(self, zone: Zone) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.zone = dict(zone)
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        """HOST:PORT, as in KEEPER_RESOLVER."""
        return f"{LOOPBACK}:{self.server_address[1]}"

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
        self.asked.append(f"{name} {kind}")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for _ in range(20):  # a name may be an alias of itself
            said = self.zone.get(f"{name} {kind}", [])
            if said == SILENCE:
                return None
            if said == GARBAGE:
                return wire[:2] + b"\x80"
            if isinstance(said, str):
                response.set_rcode(dns.rcode.from_text(said))
                break
            aliases = [text.removeprefix("CNAME ") for text in said if text.startswith("CNAME ")]
            if not aliases:
                if said:
                    response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *said))
                break
            response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "CNAME", f"{aliases[0]}."))
            name = aliases[0]
        return response.to_wire()


class _Handler(socketserver.BaseRequestHandler):
    server: NameServer

    def handle(self) -> None:
        wire, socket = self.request
        response = self.server.answer(wire)
        if response is not None:
            socket.sendto(response, self.client_address)
