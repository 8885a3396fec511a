"""How an agent's tools are declared to the model: one `Tool` or `RemoteTools` each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .toolbox import HANG_UP, SEND_DIGITS, TAKE_MESSAGE, TRANSFER_CALL, RemoteTools, Tool, Toolbox, Transfer


def declared(toolbox: Toolbox) -> tuple[Tool | RemoteTools, ...]:
    """Declare all tools of a toolbox for a model session."""
    built_in = [_built_in(name, toolbox) for name in toolbox.built_in]
    http = [Tool(tool.name, tool.description, tool.parameters) for tool in toolbox.http]
    return (*built_in, *http, *toolbox.mcp)


def _built_in(name: str, toolbox: Toolbox) -> Tool:
    match name:
        case "hang_up":
            return hang_up()
        case "transfer_call":
            return transfer_call(toolbox.transfers)
        case "send_digits":
            return send_digits()
        case "take_message":
            return take_message()
    raise ValueError(f"there is no built-in tool {name!r}")


def hang_up() -> Tool:
    """Declare the tool ``hang_up``, which has no arguments."""
    return Tool(
        HANG_UP,
        "End the telephone call. Say goodbye first, in the same turn: the line closes when it has been heard.",
        _object({}),
    )


def transfer_call(transfers: Sequence[Transfer]) -> Tool:
    """Declare ``transfer_call``, whose argument ``to`` is the name of one of ``transfers``."""
    known = "; ".join(f"{each.name}: {each.about}" if each.about else each.name for each in transfers)
    names = [each.name for each in transfers]
    return Tool(
        TRANSFER_CALL,
        "Put the caller through to a person. Say so first, in the same turn. If nobody answers, the caller comes back "
        f"to you. Whom you can reach: {known}",
        _object({"to": {"type": "string", "enum": names, "description": "Whom to ring."}}, "to"),
    )


def send_digits() -> Tool:
    """Declare ``send_digits``, whose argument ``digits`` is as in TwiML's ``<Play digits>``: ``w`` and ``W`` are pauses
    of 0.5 and 1 s."""
    digits = {
        "type": "string",
        "pattern": "^[0-9*#wW]{1,32}$",
        "description": "The keys to press, in order: 0-9, * and #. w waits for half a second, W for one.",
    }
    description = "Press keys on the telephone, as for a menu that asks for them."
    return Tool(SEND_DIGITS, description, _object({"digits": digits}, "digits"))


def take_message() -> Tool:
    """Declare ``take_message``, with the arguments ``text`` and, if the caller gives them, ``name`` and
    ``callback``."""
    properties = {
        "text": {"type": "string", "description": "What the caller wants to say, in full."},
        "name": {"type": "string", "description": "The caller's name, where they said it."},
        "callback": {"type": "string", "description": "Where they want to be called back, as they said it."},
    }
    description = (
        "Write down a message of the caller's, to be read later. Ask for it first, and for their name and a number to "
        "call back; then read it back to them."
    )
    return Tool(TAKE_MESSAGE, description, _object(properties, "text"))


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema
