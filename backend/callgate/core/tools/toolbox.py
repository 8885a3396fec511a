"""What an agent can do besides talking: the tools that its model may call, as objects. Pure."""

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
    """A function that the model may call. ``parameters``: a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Somebody whom calls can be transferred to. ``number``: E.164. ``about``: what the model is told about when to do
    so. ``ring_for``: seconds before the caller returns to the agent."""

    name: str
    number: str = field(repr=False)
    about: str = ""
    ring_for: float = 20 * SECONDS


@dataclass(frozen=True, slots=True)
class HttpTool:
    """A tool that sends a request to the owner's own server.

    ``parameters``: the JSON schema of its arguments, which are an object. ``url``: https, with a fixed host. With GET
    the arguments go into the query; otherwise they are the body, as JSON. ``headers``: the values may be secrets.
    ``timeout``: seconds for the whole request.
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
    """A remote MCP server whose tools the API itself calls, without asking. ``authorization``: a token for its
    ``Authorization`` header. ``allowed_tools``: empty means all of them."""

    label: str
    url: str
    description: str = ""
    authorization: str | None = field(default=None, repr=False)
    allowed_tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """What a key on the caller's telephone does: it calls a tool, just as the model would."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Toolbox:
    """All that one agent can do. ``built_in``: names from `BUILT_IN`. ``keys``: the tools by key."""

    built_in: tuple[str, ...] = (HANG_UP,)
    transfers: tuple[Transfer, ...] = ()
    http: tuple[HttpTool, ...] = ()
    mcp: tuple[RemoteTools, ...] = ()
    keys: Mapping[str, Bound] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Message:
    """A caller's message for the owner. ``callback``: where they want to be called back, in their own words."""

    text: str = field(repr=False)
    name: str = field(default="", repr=False)
    callback: str = field(default="", repr=False)
