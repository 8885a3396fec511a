"""All settings, in one frozen object.

A setting is a field of `Config` created with `_setting`: its name in the environment, how its text is parsed
(`readers`), and one sentence of help. `.env.example` and docs/configuration.md list the same names; a test keeps the
three in step. `Config.load` reads every setting before it complains, so that one start shows everything that is wrong.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import unquote, urlsplit

from callgate.core.gate.call_request import VOICEMAIL_HANG_UP, VOICEMAIL_HELP
from callgate.core.gate.egress import Egress
from callgate.core.gate.signature import edge_proof
from callgate.core.units import SECONDS
from callgate.errors import ConfigError

from . import readers
from .sources import make_rehearsal_token, read_settings, text_of

OPENAI_URL: Final = "wss://api.openai.com/v1/realtime"


def _setting(env: str, read: Callable[[str], Any], help: str, *, secret: bool = False, default: Any = None) -> Any:
    return dataclasses.field(
        default=default, repr=not secret, metadata={"env": env, "read": read, "help": help, "secret": secret}
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one service. A field that is ``None`` was not set and has no default.

    It has as many fields as there are settings, as all of them are taken from this one object.
    """

    domain: str = _setting("DOMAIN", readers.domain, "The host name that Twilio reaches", default="localhost")
    acme_email: str | None = _setting(
        "ACME_EMAIL", readers.email, "The address that Let's Encrypt may write to (used by certbot)"
    )
    base_url: str = _setting(
        "BASE_URL", readers.base_url, "The public https:// address; derived from DOMAIN if not set", default=""
    )
    host: str = _setting("HOST", readers.text, "The address the backend listens on", default="127.0.0.1")
    port: int = _setting("PORT", readers.port, "The port the backend listens on (0: any free one)", default=8765)

    twilio_account_sid: str | None = _setting(
        "TWILIO_ACCOUNT_SID", readers.account_sid, "Your account; calls of any other are refused"
    )
    twilio_auth_tokens: tuple[str, ...] = _setting(
        "TWILIO_AUTH_TOKEN",
        readers.keys,
        "Checks that requests come from Twilio; while you rotate it, several, separated by commas",
        secret=True,
        default=(),
    )
    edge_keys: tuple[str, ...] = _setting(
        "EDGE_KEY",
        readers.keys,
        "A secret shared by the edge and the backend, instead of the auth token; several, separated by commas",
        secret=True,
        default=(),
    )
    twilio_phone_number: str | None = _setting(
        "TWILIO_PHONE_NUMBER", readers.phone_number, "Your Twilio number, from which the test call comes"
    )
    test_call_to: tuple[str, ...] = _setting(
        "TEST_CALL_TO",
        readers.phone_numbers,
        "The only numbers the test call may ring, separated by commas",
        default=(),
    )
    admin_token: str | None = _setting(
        "ADMIN_TOKEN", readers.secret, "A client that sends it may place calls", secret=True
    )

    outbound_allow: tuple[str, ...] = _setting(
        "OUTBOUND_ALLOW",
        readers.allowed_numbers,
        "What may be called besides TEST_CALL_TO: numbers, and prefixes such as +1555*, separated by commas",
        default=(),
    )
    outbound_rate: int = _setting("OUTBOUND_RATE", readers.count, "Calls that may be placed in a minute", default=6)
    outbound_daily_cap: int = _setting(
        "OUTBOUND_DAILY_CAP", readers.count, "Calls that may be placed in 24 hours", default=50
    )
    outbound_seconds: int = _setting(
        "OUTBOUND_SECONDS", readers.call_seconds, "The longest that an outbound call may last, in seconds", default=600
    )
    voicemail: str = _setting(
        "VOICEMAIL",
        readers.voicemail,
        f"What happens when a machine answers: {VOICEMAIL_HELP}",
        default=VOICEMAIL_HANG_UP,
    )

    openai_api_key: str | None = _setting(
        "OPENAI_API_KEY", readers.secret, "Without it the line check answers the calls", secret=True
    )
    openai_model: str = _setting("OPENAI_MODEL", readers.text, "The realtime model", default="gpt-realtime-2.1")
    openai_voice: str = _setting("OPENAI_VOICE", readers.text, "The agent's voice", default="marin")
    openai_realtime_url: str | None = _setting(
        "OPENAI_REALTIME_URL", readers.realtime_url, f"Another GA Realtime server than {OPENAI_URL}"
    )
    openai_fallback_model: str | None = _setting(
        "OPENAI_FALLBACK_MODEL", readers.text, "The model that takes over if no session with OPENAI_MODEL is available"
    )
    azure_openai_endpoint: str | None = _setting(
        "AZURE_OPENAI_ENDPOINT",
        readers.azure_endpoint,
        "An Azure OpenAI resource, tried when OpenAI provides no session",
    )
    azure_openai_api_key: str | None = _setting(
        "AZURE_OPENAI_API_KEY", readers.secret, "A key of that resource", secret=True
    )
    azure_openai_deployment: str | None = _setting(
        "AZURE_OPENAI_DEPLOYMENT", readers.text, "The name of its deployment of a realtime model"
    )
    instructions: str = _setting(
        "INSTRUCTIONS",
        readers.text,
        "What the agent is and does",
        default="You are a friendly assistant on the telephone. Answer briefly and in the caller's language. "
        "When the caller says goodbye, say goodbye and then call hang_up.",
    )
    greeting: str = _setting(
        "GREETING", readers.text, "What the agent says first", default="Hello! How can I help you today?"
    )

    agents_file: Path = _setting(  # noqa: RUF009 (a Path is never changed)
        "AGENTS_FILE",
        Path,
        "The agents, by the called number; the file is optional",
        default=Path("agents/agents.toml"),
    )
    transcription_model: str | None = _setting(
        "TRANSCRIPTION_MODEL",
        lambda value: None if value == "off" else value,
        "Transcribes what callers say, for the record and for calls that are resumed; off: no transcription",
        default="gpt-transcribe",
    )
    idle_seconds: float = _setting(
        "IDLE_SECONDS",
        readers.seconds,
        "After this much silence the caller is asked, twice, whether they are there; then the call ends; 0: never",
        default=30 * SECONDS,
    )
    max_call_seconds: float = _setting(
        "MAX_CALL_SECONDS",
        readers.seconds,
        "The longest a call may last; the agent is told a minute before; 0: no limit",
        default=3600 * SECONDS,
    )
    max_calls: int = _setting(
        "MAX_CALLS",
        readers.count,
        "Calls at one time; further callers have FALLBACK_DIAL rung, or hear that we are busy",
        default=30,
    )
    http_tools_allow: Egress = _setting(  # noqa: RUF009 (an Egress is never changed)
        "HTTP_TOOLS_ALLOW",
        Egress.parse,
        "What HTTP tools may reach on a private network: HOST:PORT or networks (CIDR), separated by commas",
        default=Egress(),
    )
    fallback_dial: str | None = _setting(
        "FALLBACK_DIAL", readers.phone_number, "The human who is called when no model answers, or no line is free"
    )
    drain_seconds: float = _setting(
        "DRAIN_SECONDS",
        readers.seconds,
        "How long a stopping backend lets live calls go on, in seconds",
        default=30 * SECONDS,
    )
    fast_lane: bool = _setting(
        "FAST_LANE",
        readers.switch,
        "off: media streams use the web framework's own path, at several times the cost",
        default=True,
    )
    data_dir: Path = _setting(  # noqa: RUF009 (a Path is never changed)
        "DATA_DIR", Path, "The directory for data that must survive a restart of the backend", default=Path("data")
    )
    store: bool = _setting("STORE", readers.switch, "off: nothing about calls is kept", default=True)
    database_url: str | None = _setting(
        "DATABASE_URL",
        readers.database_url,
        "A PostgreSQL database to keep calls in, instead of a file in DATA_DIR",
        secret=True,
    )
    retention_days: int = _setting(
        "RETENTION_DAYS", readers.days, "How long an ended call is kept, in days (0: for ever)", default=30
    )
    log_format: Literal["text", "json"] = _setting(
        "LOG_FORMAT", readers.one_of("text", "json"), "text, or json for machines", default="text"
    )
    log_level: str = _setting(
        "LOG_LEVEL", readers.one_of("DEBUG", "INFO", "WARNING", "ERROR"), "How much is logged", default="INFO"
    )

    # The texts that the settings were read from: the agents file may refer to any environment variable.
    values: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    rehearsal: bool = False  # no TWILIO_AUTH_TOKEN is set: one was generated here, and real calls are refused

    def __post_init__(self) -> None:
        if not self.base_url:
            object.__setattr__(self, "base_url", f"https://{self.domain}")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> Config:
        """Read the settings from ``environ`` (the process's own by default), which overrides ``env_file``.

        Raises `ConfigError` with every problem found.
        """
        return cls.parse(read_settings(environ, env_file))

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Config:
        """Parse the settings from texts by environment name. An empty text counts as not set.

        A secret may also be in a file, named by ``NAME_FILE``. Raises `ConfigError` with every problem found.
        """
        found: dict[str, Any] = {}
        problems = []
        for field in settings():
            try:
                if text := text_of(field.metadata["env"], values, secret=field.metadata["secret"]):
                    found[field.name] = field.metadata["read"](text)
            except ValueError as exc:
                problems.append(f"{field.metadata['env']}: {exc}")
        problems += readers.missing_of_azure(values)
        if problems:
            raise ConfigError(problems)
        return cls(**found, values=values)

    def with_rehearsal_token(self) -> Config:
        """Return these settings with an auth token in any case: without ``TWILIO_AUTH_TOKEN``, a random one.

        It is kept in ``DATA_DIR`` for the next start and for `callgate phone` on this machine. Raises `ConfigError` if
        the directory is not writable.
        """
        if self.twilio_auth_tokens:
            return self
        token = make_rehearsal_token(self.data_dir)
        return dataclasses.replace(self, twilio_auth_tokens=(token,), rehearsal=True)

    @property
    def edge_proof(self) -> str:
        """The proof in the URLs given to Twilio, by which the edge recognises them (`edge_proof`); empty if there is no
        key to derive it from."""
        keys = self.edge_keys or self.twilio_auth_tokens
        return edge_proof(keys[0]) if keys else ""

    @property
    def uses_openai(self) -> bool:
        """Whether calls are answered by OpenAI, or another server of its protocol."""
        return self.openai_api_key is not None or self.openai_realtime_url is not None

    @property
    def uses_azure(self) -> bool:
        """Whether calls are answered by Azure OpenAI, on its own or when OpenAI provides no session."""
        return None not in (self.azure_openai_endpoint, self.azure_openai_api_key, self.azure_openai_deployment)

    @property
    def uses_line_check(self) -> bool:
        """Whether calls are answered by the embedded line check, because no model's server is configured."""
        return not self.uses_openai and not self.uses_azure

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the log to mask."""
        password = self.database_url and urlsplit(self.database_url).password
        keys = (self.openai_api_key, self.azure_openai_api_key)
        others = (self.admin_token, *keys, self.database_url, password, password and unquote(password))
        proofs = map(edge_proof, (*self.edge_keys, *self.twilio_auth_tokens))
        return (*self.twilio_auth_tokens, *self.edge_keys, *proofs, *(secret for secret in others if secret))


def settings() -> list[dataclasses.Field[Any]]:
    """The fields of `Config` that are read from the environment."""
    return [field for field in dataclasses.fields(Config) if "env" in field.metadata]


def as_log_level(name: str) -> int:
    """Return the numeric level for a ``LOG_LEVEL``."""
    return cast(int, logging.getLevelName(name))
