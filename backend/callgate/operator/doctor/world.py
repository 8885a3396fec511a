"""Where everything outside is: the real world in production, a stand-in on loopback for each part in tests."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from callgate.agents import Agents
from callgate.config.settings import Config
from callgate.operator.ask import Answer, ask
from callgate.peers.phone.options import Address

from .waterfall import Stage

TWILIO_API: Final = "https://api.twilio.com"
OPENAI_API: Final = "https://api.openai.com"

#: Domains under which tunnels hand out addresses.
TUNNEL_DOMAINS: Final = (
    "ngrok.io", "ngrok.app", "ngrok.dev", "ngrok-free.app", "ngrok-free.dev", "trycloudflare.com", "loca.lt",
)  # fmt: skip


def is_tunnel_name(host: str) -> bool:
    """Whether a host name was handed out by a tunnel."""
    return host.endswith(tuple(f".{name}" for name in TUNNEL_DOMAINS))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``route``: maps a host and port to the real address. ``edge``: where port 443 of BASE_URL is, whatever DNS
    says."""

    nameserver: Address | None = None  # None: this machine's own
    route: Callable[[str, int], Address] = Address
    edge: Address | None = None
    ca: Path | None = None  # trusted for BASE_URL, instead of the system's
    companies_ca: Path | None = None  # trusted for Twilio and OpenAI, instead of the system's
    now: Callable[[], float] = time.time  # UNIX time, seconds

    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts whom Twilio would trust. Raises OSError if the CA file can't be used."""
        return ssl.create_default_context(cafile=self.ca)

    def trust_companies(self) -> ssl.SSLContext:
        """A TLS context for requests to Twilio and OpenAI."""
        return ssl.create_default_context(cafile=self.companies_ca)

    async def ask(self, method: str, url: str, *, tls: ssl.SSLContext | None = None, **options: Any) -> Answer:
        """Send a request in this world. ``tls``: by default `trust`; ``options``: as for `callgate.operator.ask.ask`.
        Raises `UnreachableError`."""
        return await ask(method, url, route=self.route, tls=tls or self.trust(), **options)


@dataclass(slots=True, kw_only=True)
class Case:
    """What all checks share: first what is given, then what earlier checks found for later ones.

    It has many fields because each check adds the one or two facts that it finds."""

    config: Config
    world: World
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # all settings, as text
    env_file: Path | None = None
    in_file: Mapping[str, str] = field(default_factory=dict, repr=False)  # those of them that the file sets
    call_to: str = field(default="", repr=False)  # the number that the test call rings

    addresses: tuple[str, ...] = ()  # of BASE_URL's host, IPv4 first
    is_local: bool = False  # the backend answers on this machine
    certificate: bytes = field(default=b"", repr=False)  # the one that BASE_URL's host sends, as DER
    stream_url: str = field(default="", repr=False)  # from the TwiML; it contains a token
    call_sid: str = ""  # of the doctor's made-up call
    agents: Agents | None = None  # from AGENTS_FILE, if it can be used
    models: dict[str, Mapping[str, object]] = field(default_factory=dict)
    parts: list[Stage] = field(default_factory=list)  # of the test call

    @property
    def host(self) -> str:
        """The host of BASE_URL."""
        return urlsplit(self.config.base_url).hostname or ""

    @property
    def is_rehearsal(self) -> bool:
        """Whether BASE_URL is localhost, because there is no public address yet."""
        return self.host == "localhost"

    @property
    def is_tunnel(self) -> bool:
        """Whether TLS is terminated elsewhere, by a tunnel or proxy with its own DNS name and certificate."""
        return is_tunnel_name(self.host) or self.host != self.config.domain

    @property
    def edge(self) -> Address:
        """The address of BASE_URL's port 443."""
        if self.world.edge is not None:
            return self.world.edge
        return self.world.route(self.addresses[0] if self.addresses else self.host, 443)
