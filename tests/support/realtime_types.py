"""Strict checks of Realtime events against the types of OpenAI's SDK (``openai.types.realtime``).

The SDK's models accept any extra field, because a client must survive the service's next version. Here, a field that
the model doesn't know is an error, because it must be a misspelling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse
from pydantic import BaseModel, TypeAdapter, ValidationError


class EventInvalid(AssertionError):
    """An event that the SDK's types don't allow. The message says which one, and where."""


# The SDK types a server event's session like a client's; the service's resource also has these fields.
_SESSION_RESOURCE_FIELDS = {"id", "object", "expires_at"}


def validate_server_event(event: Mapping[str, Any]) -> None:
    """Raise `EventInvalid` unless the service may send exactly this event."""
    _validate(event, _models(RealtimeServerEvent))
    if event["type"] in ("session.created", "session.updated"):
        _check("session", event["session"], TypeAdapter(RealtimeSessionCreateResponse))


def validate_client_event(event: Mapping[str, Any]) -> None:
    """Raise `EventInvalid` unless a client may send exactly this event."""
    _validate(event, _models(RealtimeClientEvent))


def client_event_types() -> frozenset[str]:
    """Return every type of event that a client may send."""
    return frozenset(_models(RealtimeClientEvent))


@cache
def _models(union: Any) -> Mapping[str, TypeAdapter[Any]]:
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["type"].annotation)[0]: TypeAdapter(member) for member in members}


def _validate(event: Mapping[str, Any], models: Mapping[str, TypeAdapter[Any]]) -> None:
    kind = event.get("type")
    if kind not in models:
        raise EventInvalid(f"{kind!r} is not an event type of the SDK")
    extra = [path for path in _check(kind, event, models[kind]) if not _of_the_session_resource(path)]
    if extra:
        raise EventInvalid(f"{kind}: the SDK knows no field {', '.join(extra)}")


def _check(name: str, value: Any, model: TypeAdapter[Any]) -> list[str]:
    try:
        return list(_extras(model.validate_python(value, strict=True), ""))
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in exc.errors())
        raise EventInvalid(f"{name}: {faults}") from None


def _extras(value: Any, path: str) -> Iterator[str]:
    match value:
        case BaseModel():
            for name in value.model_extra or {}:
                yield f"{path}{name}"
            for name in type(value).model_fields:
                yield from _extras(getattr(value, name), f"{path}{name}.")
        case list():
            for index, entry in enumerate(value):
                yield from _extras(entry, f"{path}{index}.")


def _of_the_session_resource(path: str) -> bool:
    parent, _, name = path.rpartition(".")
    return parent == "session" and name in _SESSION_RESOURCE_FIELDS
