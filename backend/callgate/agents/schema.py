"""The tables of ``agents.toml``: which keys there are, and what each may hold.

Pydantic finds unknown keys and wrong types by itself. A key that the file leaves out is not in ``model_fields_set``,
and is inherited. docs/agents.md lists the same keys; a test checks that they agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, ValidationInfo, model_validator

from callgate.core.gate.numbers import E164, NOBODYS
from callgate.core.tools.toolbox import BUILT_IN, KEYS, HttpTool
from callgate.core.withheld import is_withheld
from callgate.tools.http_tools import check_http_tool

from .hours import Span
from .variables import check_text

DAY = 24 * 3600  # seconds
LONGEST_TEXT = 100_000  # characters
LONGEST_SENTENCE = 500  # characters for Twilio to say before the stream, whose token is valid for one minute
TOOL_DEADLINE = 30  # seconds

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # the Realtime API's rule for tool names
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a valid name: use letters, digits, _ and -, at most 64 of them")
    return text


def _number(text: str) -> str:
    if not E164.fullmatch(text):
        raise ValueError("a phone number is written with + and country code and without spaces, as in +15551230000")
    if is_withheld(text):
        raise ValueError(NOBODYS)
    return text


def _template(text: str) -> str:
    check_text(text)
    return text


def _language(text: str) -> str:
    if not _LANGUAGE.fullmatch(text):
        raise ValueError(f"{text!r} is not a language tag: write it as de or de-DE")
    return text


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {text!r}: write it as Europe/Berlin or America/New_York") from None
    return text


def _span(text: str) -> str:
    Span.parse(text)
    return text


def _https(text: str) -> str:
    try:
        parts = urlsplit(text)
        port_fits = parts.port != 0
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme != "https" or not parts.hostname or not port_fits:
        raise ValueError("it must be an https:// address: what a caller says is not sent unencrypted")
    if parts.username is not None or parts.fragment or re.search(r"[\s{}\\]", text):
        raise ValueError("it must hold no user, no fragment, no space and no brace: secrets go into a header")
    return text


def _secret(text: str, info: ValidationInfo) -> str:
    """Return the text with each ``${NAME}`` replaced from the environment in the validation context."""
    context = cast(SecretsContext, info.context)
    filled = _VARIABLE.sub(lambda found: context.value(found[1]), text)
    if not _HEADER_VALUE.fullmatch(filled):
        raise ValueError("it holds a character that is not allowed in a header")
    return filled


def _one_of(*choices: str) -> AfterValidator:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return AfterValidator(check)


class SecretsContext:
    """Where ``${NAME}`` is looked up. ``found``: the values that were used, which the log must mask."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.found: set[str] = set()

    def value(self, name: str) -> str:
        """Return a variable's value. Raises `ValueError`."""
        if not _VARIABLE_NAME.fullmatch(name):
            raise ValueError(f"${{{name}}} does not name a variable: write ${{NAME}}")
        if not (value := self._environ.get(name, "").strip()):
            raise ValueError(f"{name} is not set: set it in .env, or in the environment of the service, and restart it")
        self.found.add(value)
        return value


Name = Annotated[str, AfterValidator(_name)]
Number = Annotated[str, AfterValidator(_number)]
Template = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(_template)]
Sentence = Annotated[str, Field(max_length=LONGEST_SENTENCE), AfterValidator(_template)]
Line = Annotated[str, Field(min_length=1, max_length=1024)]
Https = Annotated[str, Field(max_length=2048), AfterValidator(_https)]
Secret = Annotated[str, AfterValidator(_secret)]
SpanText = Annotated[str, AfterValidator(_span)]
BuiltIn = Annotated[str, _one_of(*BUILT_IN)]
Key = Annotated[str, _one_of(*KEYS)]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class ServerVadTable(Table):
    type: Literal["server_vad"]
    threshold: float | None = Field(default=None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=5_000)
    silence_duration_ms: int | None = Field(default=None, ge=0, le=10_000)


class SemanticVadTable(Table):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"


class TransferTable(Table):
    name: Name
    number: Number
    about: Annotated[str, Field(max_length=1024)] = ""
    ring_seconds: int = Field(default=20, ge=5, le=600)


class HttpTable(Table):
    name: Name
    description: Line
    url: Annotated[str, Field(max_length=2048)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    parameters: dict[str, Any] = {}
    headers: dict[str, Secret] = Field(default={}, repr=False)
    timeout_seconds: float = Field(default=10, gt=0, le=TOOL_DEADLINE)

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if (problem := check_http_tool(self.tool())) is not None:
            raise ValueError(problem)
        return self

    def tool(self) -> HttpTool:
        """Return the tool as it is run."""
        parameters = {"type": "object", "properties": {}, **self.parameters}
        return HttpTool(
            self.name, self.description, parameters, self.url, self.method, self.headers, self.timeout_seconds
        )


class McpTable(Table):
    label: Name
    url: Https
    description: Annotated[str, Field(max_length=1024)] = ""
    authorization: Secret | None = Field(default=None, repr=False)
    allowed_tools: list[Line] = []


class KeyTable(Table):
    """What a key on the phone does: ``tool``, and the tool's arguments beside it."""

    model_config = ConfigDict(extra="allow")
    tool: Name


class WhenClosedTable(Table):
    say: Annotated[str, Field(min_length=1, max_length=LONGEST_SENTENCE), AfterValidator(_template)] | None = None
    agent: Name | None = None


class HoursTable(Table):
    monday: list[SpanText] = []
    tuesday: list[SpanText] = []
    wednesday: list[SpanText] = []
    thursday: list[SpanText] = []
    friday: list[SpanText] = []
    saturday: list[SpanText] = []
    sunday: list[SpanText] = []
    closed_on: list[date] = []
    when_closed: WhenClosedTable | None = None


class AgentTable(Table):
    """An agent's table, with a field for each key that it may have."""

    instructions: Template = ""
    greeting: Template = ""
    model: Line = ""
    voice: Line = ""
    language: Annotated[str, AfterValidator(_language)] = ""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = ""
    recording_consent: Sentence = ""
    turn_detection: Annotated[ServerVadTable | SemanticVadTable, Discriminator("type")] | None = None
    noise_reduction: Literal["near_field", "far_field", "off"] = "off"
    idle_seconds: int = Field(default=0, ge=0, le=DAY)
    max_call_seconds: int = Field(default=0, ge=0, le=DAY)
    tools: list[BuiltIn] = []
    transfer: list[TransferTable] = []
    http: list[HttpTable] = []
    mcp: list[McpTable] = []
    keys: dict[Key, KeyTable] = {}
    hours: HoursTable | None = None


class FileTable(Table):
    """The file. Its agents are validated one by one, so that errors in one do not hide errors in others."""

    default: dict[str, Any] = {}
    number: dict[Number, dict[str, Any]] = {}
    agent: dict[Name, dict[str, Any]] = {}


ALL_KEYS: Final = sorted({name for table in Table.__subclasses__() for name in table.model_fields})
