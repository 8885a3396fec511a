"""Where everything outside is: in production the world itself, in a test a stand-in on loopback for each part."""

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

#: Names under which tunnels give away addresses.
TUNNEL_DOMAINS: Final = (
    "ngrok.io", "ngrok.app", "ngrok.dev", "ngrok-free.app", "ngrok-free.dev", "trycloudflare.com", "loca.lt",
)  # fmt: skip


def is_tunnel_name(host: str) -> bool:
    """Whether a host name is one that a tunnel gave away."""
    return host.endswith(tuple(f".{name}" for name in TUNNEL_DOMAINS))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``route``: where a host and a port really are. ``edge``: where port 443 of BASE_URL is, whatever DNS says."""

    nameserver: Address | None = None  # None: the ones that this machine asks
    route: Callable[[str, int], Address] = Address
    edge: Address | None = None
    ca: Path | None = None  # trusted at BASE_URL instead of the system's
    companies_ca: Path | None = None  # the same, at Twilio and OpenAI
    now: Callable[[], float] = time.time  # UNIX time, seconds

    def trust(self) -> ssl.SSLContext:
        """Whom Twilio would trust. Raises OSError where the CA file can't be used."""
        return ssl.create_default_context(cafile=self.ca)

    def trust_companies(self) -> ssl.SSLContext:
        """Whom we trust to be Twilio and OpenAI."""
        return ssl.create_default_context(cafile=self.companies_ca)

    async def ask(self, method: str, url: str, *, tls: ssl.SSLContext | None = None, **options: Any) -> Answer:
        """Ask this world. ``tls``: by default whom Twilio would trust; ``options``: as `callgate.operator.ask.ask`
        takes them. Raises `UnreachableError`."""
        return await ask(method, url, route=self.route, tls=tls or self.trust(), **options)


@dataclass(slots=True, kw_only=True)
class Case:
    """What all checks share: what is given, and below it what an earlier check found for a later one."""

    config: Config
    world: World
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # all settings, as texts
    env_file: Path | None = None
    call_to: str = field(default="", repr=False)  # whom the test call rings

    addresses: tuple[str, ...] = ()  # of BASE_URL's host, IPv4 first
    is_local: bool = False  # the backend can be asked here
    certificate: bytes = field(default=b"", repr=False)  # that BASE_URL's host shows, as DER
    stream_url: str = field(default="", repr=False)  # of the TwiML: it holds a token
    call_sid: str = ""  # of the call that the doctor makes up
    agents: Agents | None = None  # of AGENTS_FILE, where that can be used
    models: dict[str, Mapping[str, object]] = field(default_factory=dict)
    parts: list[Stage] = field(default_factory=list)  # of the test call

    @property
    def host(self) -> str:
        """The host of BASE_URL."""
        return urlsplit(self.config.base_url).hostname or ""

    @property
    def is_rehearsal(self) -> bool:
        """Whether there is no public address yet."""
        return self.host == "localhost"

    @property
    def is_tunnel(self) -> bool:
        """Whether somebody else ends the TLS: DNS and certificate are theirs."""
        return is_tunnel_name(self.host) or self.host != self.config.domain

    @property
    def edge(self) -> Address:
        """Where port 443 of BASE_URL is."""
        if self.world.edge is not None:
            return self.world.edge
        return self.world.route(self.addresses[0] if self.addresses else self.host, 443)
