"""The session's settings: GA defaults, what ``session.update`` may change, and what is echoed back. Pure.

Source: in OpenAI's SDK, `RealtimeSessionCreateRequest` (what a client may send) and `RealtimeSessionCreateResponse`
(what the server's session resource adds: ``id``, ``object``, ``expires_at``).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from .schema import (
    EventRefused,
    anything,
    boolean,
    by,
    either,
    fields,
    list_of,
    nullable,
    number,
    object_,
    one_of,
    string,
)

PCMU = "audio/pcmu"  # the one format that a telephone needs, and the only one that the line check speaks

# Fields of the beta protocol's session, which the GA service no longer accepts.
_BETA_FIELDS = frozenset(
    {
        "modalities",
        "voice",
        "input_audio_format",
        "output_audio_format",
        "input_audio_transcription",
        "input_audio_noise_reduction",
        "turn_detection",
        "temperature",
        "max_response_output_tokens",
    }
)

_FORMAT = by(
    "type",
    {
        "audio/pcm": fields(type=string, rate=number(24_000, 24_000)),
        PCMU: fields(type=string),
        "audio/pcma": fields(type=string),
    },
)
_TURN_DETECTION = by(
    "type",
    {
        "server_vad": fields(
            type=string,
            threshold=number(0, 1, whole=False),
            prefix_padding_ms=number(0, 5_000),
            silence_duration_ms=number(0, 10_000),
            create_response=boolean,
            interrupt_response=boolean,
            idle_timeout_ms=nullable(number(5_000, 30_000)),
        ),
        "semantic_vad": fields(
            type=string,
            eagerness=one_of("low", "medium", "high", "auto"),
            create_response=boolean,
            interrupt_response=boolean,
        ),
    },
)
_TURN_DETECTION_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "server_vad": {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {"eagerness": "auto", "create_response": True, "interrupt_response": True},
}
_TRANSCRIPTION = fields(
    model=string,
    language=nullable(string),
    languages=nullable(list_of(string)),
    keywords=nullable(list_of(string)),
    prompt=nullable(string),
    delay=nullable(one_of("minimal", "low", "medium", "high", "xhigh")),
)
_AUDIO_INPUT = fields(
    format=_FORMAT,
    turn_detection=nullable(_TURN_DETECTION),
    transcription=nullable(_TRANSCRIPTION),
    noise_reduction=nullable(fields({"type": one_of("near_field", "far_field")}, strength=number(0, 1, whole=False))),
)
_VOICE = either(fields({"id": string}), string)
_AUDIO_OUTPUT = fields(format=_FORMAT, voice=_VOICE, speed=number(0.25, 1.5, whole=False))
_MODALITIES = list_of(one_of("audio"))  # a telephone has no screen: text alone is refused
_MAX_OUTPUT_TOKENS = either(one_of("inf"), number(1, 4_096))
_TOOL = by(
    "type",
    {
        "function": fields({"name": string}, type=string, description=string, parameters=object_),
        "mcp": fields(
            {"server_label": string},
            type=string,
            server_url=string,
            server_description=string,
            authorization=string,
            headers=nullable(object_),
            allowed_tools=nullable(either(object_, list_of(string))),
            require_approval=nullable(either(object_, one_of("always", "never"))),
        ),
    },
)
_TOOL_CHOICE = either(fields({"type": string, "name": string}), one_of("none", "auto", "required"))
_REASONING = fields({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})

SESSION = fields(
    {"type": one_of("realtime")},
    model=string,
    instructions=string,
    output_modalities=_MODALITIES,
    audio=fields(input=_AUDIO_INPUT, output=_AUDIO_OUTPUT),
    tools=list_of(_TOOL),
    tool_choice=_TOOL_CHOICE,
    parallel_tool_calls=boolean,
    max_output_tokens=_MAX_OUTPUT_TOKENS,
    reasoning=nullable(_REASONING),
    truncation=either(object_, one_of("auto", "disabled")),
    tracing=nullable(anything),
    prompt=nullable(object_),
    include=nullable(list_of(string)),
)
RESPONSE_CREATE = fields(
    instructions=string,
    output_modalities=_MODALITIES,
    audio=fields(output=fields(format=_FORMAT, voice=_VOICE)),
    tools=list_of(_TOOL),
    tool_choice=_TOOL_CHOICE,
    parallel_tool_calls=boolean,
    max_output_tokens=_MAX_OUTPUT_TOKENS,
    reasoning=nullable(_REASONING),
    conversation=one_of("auto"),
    metadata=nullable(object_),
    prompt=nullable(object_),
)


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """When the caller's turn begins and ends. Durations in milliseconds; ``threshold`` from 0 to 1."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


class RealtimeSession:
    """The settings of one session, as the server's session resource."""

    def __init__(self, session_id: str, model: str, *, expires_at: int | None = None) -> None:
        self._resource: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "expires_at": expires_at,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": _with_defaults({"type": "server_vad"}),
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin", "speed": 1.0},
            },
            "include": None,
        }

    @property
    def resource(self) -> dict[str, Any]:
        """The full session, as ``session.created`` and ``session.updated`` carry it."""
        return deepcopy(self._resource)

    @property
    def instructions(self) -> str:
        """The system instructions."""
        return str(self._resource["instructions"])

    @property
    def transcribes(self) -> bool:
        """Whether the client also wants the caller's words as text."""
        return self._resource["audio"]["input"]["transcription"] is not None

    @property
    def input_format(self) -> str:
        """The format type of appended audio."""
        return str(self._resource["audio"]["input"]["format"]["type"])

    @property
    def max_output_tokens(self) -> int | str:
        """The most tokens that a response may have; echoed, but not enforced."""
        limit: int | str = self._resource["max_output_tokens"]
        return limit

    def output(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``format`` and ``voice`` of a response resource. ``overrides``: those of ``response.create``."""
        output = {**self._resource["audio"]["output"], **overrides}
        voice = output["voice"]
        return {"format": dict(output["format"]), "voice": voice["id"] if isinstance(voice, dict) else voice}

    @property
    def turn_detection(self) -> TurnDetection | None:
        """The current turn detection; `None` if the client commits the audio itself."""
        settings = self._resource["audio"]["input"]["turn_detection"]
        if settings is None:
            return None
        if settings["type"] == "semantic_vad":
            # There is no semantic model here, so eagerness only changes how long a silence ends the turn.
            silence = {"low": 1_000, "high": 300}.get(settings["eagerness"], 500)
            return TurnDetection(
                silence_duration_ms=silence,
                create_response=settings["create_response"],
                interrupt_response=settings["interrupt_response"],
            )
        return TurnDetection(**{name: value for name, value in settings.items() if name != "type"})

    def update(self, changes: Any) -> None:
        """Carry out a ``session.update``, completely or not at all. Raises `EventRefused`."""
        object_("session", changes)
        if beta := sorted(_BETA_FIELDS & changes.keys()):
            param = f"session.{beta[0]}"
            message = (
                f"The Realtime Beta API is no longer supported: '{param}' belongs to its session, not to the GA one."
            )
            raise EventRefused("beta_api_shape_disabled", message, param=param)
        checked = SESSION("session", changes)
        turn_detection = checked.get("audio", {}).get("input", {}).get("turn_detection")
        if turn_detection is not None:
            checked["audio"]["input"]["turn_detection"] = _with_defaults(turn_detection)
        audio = checked.pop("audio", {})
        # The model can't be changed after the session has been opened.
        checked.pop("model", None)
        self._resource.update(checked)
        for side, settings in audio.items():
            self._resource["audio"][side].update(settings)


def _with_defaults(turn_detection: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": turn_detection["type"], **_TURN_DETECTION_DEFAULTS[turn_detection["type"]], **turn_detection}
