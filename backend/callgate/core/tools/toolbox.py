"""What an agent can do beside talking: the tools that its model may ask for, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from callgate.core.units import SECONDS

KEYS = "0123456789*#"

HANG_UP = "hang_up"
TRANSFER_CALL = "transfer_call"
SEND_DIGITS = "send_digits"
TAKE_MESSAGE = "take_message"
BUILT_IN = (HANG_UP, TRANSFER_CALL, SEND_DIGITS, TAKE_MESSAGE)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may ask for. ``parameters``: a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Somebody whom calls can be put through to. ``number``: E.164. ``about``: what the model is told of when to.
    ``ring_for``: seconds, after which the caller is back with the agent."""

    name: str
    number: str = field(repr=False)
    about: str = ""
    ring_for: float = 20 * SECONDS


@dataclass(frozen=True, slots=True)
class HttpTool:
    """A tool that is a request to the owner's own server.

    ``parameters``: the JSON schema of its arguments, an object's. ``url``: https, its host fixed. With GET the
    arguments go into the query, else they are the body, as JSON. ``headers``: their values may be secrets. ``timeout``:
    seconds for all of it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    timeout: float = 10 * SECONDS


@dataclass(frozen=True, slots=True)
class RemoteTools:
    """A remote MCP server whose tools the API calls by itself, without asking. ``authorization``: a token, for its
    ``Authorization`` header. ``allowed_tools``: none named means all of them."""

    label: str
    url: str
    description: str = ""
    authorization: str | None = field(default=None, repr=False)
    allowed_tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """What a key of the caller's telephone does: a tool, asked for as the model would ask for it."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Toolbox:
    """All that one agent can do. ``built_in``: names of `BUILT_IN`. ``keys``: by the key."""

    built_in: tuple[str, ...] = (HANG_UP,)
    transfers: tuple[Transfer, ...] = ()
    http: tuple[HttpTool, ...] = ()
    mcp: tuple[RemoteTools, ...] = ()
    keys: Mapping[str, Bound] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Message:
    """What a caller leaves for the owner. ``callback``: where they want to be called, as they said it."""

    text: str = field(repr=False)
    name: str = field(default="", repr=False)
    callback: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Absences:
    """How often the agent left a call and came back: from ``transfers`` that came to nothing, from ``sendings`` of
    keys. ``back``: it comes back from one of them now."""

    transfers: int = 0
    sendings: int = 0
    back: bool = False


NEVER_AWAY = Absences()
