"""All settings, in one frozen value. The only module that reads the environment.

A setting is a field of `Config` made with `_setting`: its name in the environment, how its text is read, and one
sentence of help. `.env.example` and docs/configuration.md list the same names; a test holds the three together.
`Config.load` reads every setting before it complains, so that one start shows everything that is wrong.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from dotenv import dotenv_values

from callgate.core.gate.call_request import VOICEMAIL_HANG_UP, VOICEMAIL_HELP, is_voicemail
from callgate.core.gate.egress import Egress
from callgate.core.gate.numbers import PATTERN, read_number
from callgate.core.gate.signature import edge_proof
from callgate.errors import ConfigError

SECONDS = 1.0

OPENAI_URL: Final = "wss://api.openai.com/v1/realtime"
AZURE: Final = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_DEPLOYMENT")  # all, or none
REHEARSAL_TOKEN_FILE: Final = "rehearsal-auth-token"

WHY_WSS: Final = (
    "Twilio Media Streams connects only to wss:// on port 443, and the stream's URL is made from BASE_URL: "
    "set BASE_URL=https://YOUR_DOMAIN (or the https:// address of your tunnel)"
)


def _text(value: str) -> str:
    return value


def _base_url(value: str) -> str:
    url = value.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme in ("http", "ws"):
        raise ValueError(f"{value!r} is not encrypted. {WHY_WSS}")
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"{value!r} is not an https:// address. {WHY_WSS}")
    if parts.port not in (None, 443):
        raise ValueError(f"{value!r} names port {parts.port}. {WHY_WSS}")
    if parts.query or parts.fragment or parts.username:
        raise ValueError(f"{value!r} must hold only a host name, and a path if there is one")
    return url.replace(":443", "", 1) if parts.port else url


def _domain(value: str) -> str:
    name = value.rstrip(".").lower()
    if not re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*", name):
        raise ValueError(
            f"{value!r} is not a host name: write it without https:// and without a path, as in voice.example.com"
        )
    return name


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"{value!r} is not an e-mail address")
    return value


def _port(value: str) -> int:
    return _whole(value, 0, 65535)


def _count(value: str) -> int:
    return _whole(value, 1, 10_000)


def _seconds(value: str) -> float:
    return _whole(value, 0, 24 * 3600) * SECONDS


def _whole(value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
        raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
    return int(value)


def _secrets(value: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in value.split(",")) if part)


def _account_sid(value: str) -> str:
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", value):
        raise ValueError("it must be AC and 32 hexadecimal digits, as the Twilio console shows it")
    return value


def _phone_number(value: str) -> str:
    number = read_number(value)
    if number is None or "+" not in value:
        raise ValueError("a phone number is written with + and country code, as in +15551230000")
    return number


def _phone_numbers(value: str) -> tuple[str, ...]:
    return tuple(_phone_number(part) for part in value.split(",") if part.strip())


def _allowed_numbers(value: str) -> tuple[str, ...]:
    return tuple(_allowed_number(part) for part in value.split(",") if part.strip())


def _allowed_number(value: str) -> str:
    if "*" not in value:
        return _phone_number(value)
    prefix = re.sub(r"[\s().-]", "", value)
    if not PATTERN.fullmatch(prefix):
        raise ValueError("a prefix is written with + and country code and ends in *, as in +1555*; * is any number")
    return prefix


def _voicemail(value: str) -> str:
    if not is_voicemail(value):
        raise ValueError(f"it must be {VOICEMAIL_HELP}")
    return value


def _call_seconds(value: str) -> int:
    return _whole(value, 10, 4 * 3600)


def _realtime_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{value!r} is not a wss:// address")
    if parts.scheme == "ws" and not _is_private(parts.hostname):
        raise ValueError(
            f"{value!r} would send the call and the API key unencrypted over a public network: use "
            "wss:// (ws:// is for this machine or a private network)"
        )
    return value


def _azure_endpoint(value: str) -> str:
    parts = urlsplit(value.rstrip("/").removesuffix("/openai/v1"))
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"{value!r} is not an Azure OpenAI resource: write https://RESOURCE.openai.azure.com")
    if parts.scheme == "http" and not _is_private(parts.hostname):
        raise ValueError(f"{value!r} would send the call and the API key unencrypted: use https://")
    return f"{parts.scheme}://{parts.netloc}"


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name: one without dots is a neighbour (a container), the others are reserved for it
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private


def _database_url(value: str) -> str:
    try:
        valid = _is_database_url(value)
    except ValueError:
        valid = False
    if not valid:  # it is not shown: it may hold a password
        raise ValueError(
            "it must be a PostgreSQL address, as in postgresql://USER:PASSWORD@HOST:5432/DATABASE; special signs in "
            "the user and the password (/ ? # @ and the like) are written as %XX"
        )
    return value


def _is_database_url(value: str) -> bool:
    """Whether it is a PostgreSQL address in which each sign has one meaning. Raises `ValueError` where it is no URL."""
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        return False
    # A password with one of / ? # @ as it is ends too early. What is behind the sign would be taken for a host, a port,
    # a database or an option, and so be shown.
    login, _, hosts = parts.netloc.rpartition("@")
    if parts.fragment or "@" in login + parts.path + parts.query:
        return False
    if parts.query:
        parse_qsl(parts.query, strict_parsing=True)
    for host in hosts.split(","):
        _ = urlsplit(f"//{host}").port  # raises where it is no number
    return True


def _days(value: str) -> int:
    return _whole(value, 0, 36_500)


def _switch(value: str) -> bool:
    if value.lower() not in ("on", "off"):
        raise ValueError(f"{value!r} is neither on nor off")
    return value.lower() == "on"


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")

    return read


def _directory(value: str) -> Path:
    return Path(value)


def _setting(env: str, read: Callable[[str], Any], help: str, *, secret: bool = False, default: Any = None) -> Any:
    return dataclasses.field(
        default=default, repr=not secret, metadata={"env": env, "read": read, "help": help, "secret": secret}
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one service. A field that is ``None`` was not set and has no default."""

    domain: str = _setting("DOMAIN", _domain, "The host name callers' calls reach", default="localhost")
    acme_email: str | None = _setting("ACME_EMAIL", _email, "Where Let's Encrypt may write to (used by certbot)")
    base_url: str = _setting(
        "BASE_URL", _base_url, "The public https:// address; made from DOMAIN where not set", default=""
    )
    host: str = _setting("HOST", _text, "The address the backend listens on", default="127.0.0.1")
    port: int = _setting("PORT", _port, "The port the backend listens on (0: any free one)", default=8765)

    twilio_account_sid: str | None = _setting(
        "TWILIO_ACCOUNT_SID", _account_sid, "Your account; calls of any other are refused"
    )
    twilio_auth_tokens: tuple[str, ...] = _setting(
        "TWILIO_AUTH_TOKEN",
        _secrets,
        "Checks that a request is Twilio's; several, with commas, while one is rotated",
        secret=True,
        default=(),
    )
    edge_keys: tuple[str, ...] = _setting(
        "EDGE_KEY",
        _secrets,
        "A secret that the edge has with the backend, in place of the auth token; several, with commas",
        secret=True,
        default=(),
    )
    twilio_phone_number: str | None = _setting(
        "TWILIO_PHONE_NUMBER", _phone_number, "Your Twilio number: who the test call comes from"
    )
    test_call_to: tuple[str, ...] = _setting(
        "TEST_CALL_TO", _phone_numbers, "The only numbers the test call may ring, with commas", default=()
    )
    admin_token: str | None = _setting("ADMIN_TOKEN", _text, "Who sends it may place the test call", secret=True)

    outbound_allow: tuple[str, ...] = _setting(
        "OUTBOUND_ALLOW",
        _allowed_numbers,
        "What may be called beside TEST_CALL_TO: numbers, and prefixes as +1555*, with commas",
        default=(),
    )
    outbound_rate: int = _setting("OUTBOUND_RATE", _count, "Calls that may be placed in a minute", default=6)
    outbound_daily_cap: int = _setting("OUTBOUND_DAILY_CAP", _count, "Calls that may be placed in 24 hours", default=50)
    outbound_seconds: int = _setting(
        "OUTBOUND_SECONDS", _call_seconds, "The longest that a call we placed may last", default=600
    )
    voicemail: str = _setting(
        "VOICEMAIL", _voicemail, f"What a machine that answers gets: {VOICEMAIL_HELP}", default=VOICEMAIL_HANG_UP
    )

    openai_api_key: str | None = _setting(
        "OPENAI_API_KEY", _text, "Without it the line check answers the calls", secret=True
    )
    openai_model: str = _setting("OPENAI_MODEL", _text, "The realtime model", default="gpt-realtime-2.1")
    openai_voice: str = _setting("OPENAI_VOICE", _text, "The agent's voice", default="marin")
    openai_realtime_url: str | None = _setting(
        "OPENAI_REALTIME_URL", _realtime_url, f"Another GA Realtime server than {OPENAI_URL}"
    )
    openai_fallback_model: str | None = _setting(
        "OPENAI_FALLBACK_MODEL", _text, "The model that takes over when a session with OPENAI_MODEL can't be had"
    )
    azure_openai_endpoint: str | None = _setting(
        "AZURE_OPENAI_ENDPOINT", _azure_endpoint, "An Azure OpenAI resource, tried when OpenAI has no session"
    )
    azure_openai_api_key: str | None = _setting("AZURE_OPENAI_API_KEY", _text, "A key of that resource", secret=True)
    azure_openai_deployment: str | None = _setting(
        "AZURE_OPENAI_DEPLOYMENT", _text, "The name of its deployment of a realtime model"
    )
    instructions: str = _setting(
        "INSTRUCTIONS",
        _text,
        "What the agent is and does",
        default="You are a friendly assistant on the telephone. Answer briefly and in the caller's language. "
        "When the caller says goodbye, say goodbye and then call hang_up.",
    )
    greeting: str = _setting("GREETING", _text, "What the agent says first", default="Hello! How can I help you today?")

    agents_file: Path = _setting(  # noqa: RUF009 (a Path is never changed)
        "AGENTS_FILE", _directory, "The agents, by the called number; it may lack", default=Path("agents/agents.toml")
    )
    transcription_model: str | None = _setting(
        "TRANSCRIPTION_MODEL",
        lambda value: None if value == "off" else value,
        "Writes down what callers say, for the record and for a call that is taken up again; off: nobody does",
        default="gpt-transcribe",
    )
    idle_seconds: float = _setting(
        "IDLE_SECONDS",
        _seconds,
        "After so much silence the caller is asked whether they are there, twice, then the call ends; 0: never",
        default=30 * SECONDS,
    )
    max_call_seconds: float = _setting(
        "MAX_CALL_SECONDS",
        _seconds,
        "The longest a call may last; the agent is told a minute before; 0: no limit",
        default=3600 * SECONDS,
    )
    max_calls: int = _setting(
        "MAX_CALLS", _count, "Calls at one time; one more is told that all lines are busy", default=30
    )
    http_tools_allow: Egress = _setting(  # noqa: RUF009 (an Egress is never changed)
        "HTTP_TOOLS_ALLOW",
        Egress.parse,
        "What HTTP tools may ask on a private network: HOST:PORT or networks (CIDR), with commas",
        default=Egress(),
    )
    fallback_dial: str | None = _setting("FALLBACK_DIAL", _phone_number, "The human who is rung when no model answers")
    drain_seconds: float = _setting(
        "DRAIN_SECONDS", _seconds, "How long a stopping backend lets live calls go on, in s", default=30 * SECONDS
    )
    fast_lane: bool = _setting(
        "FAST_LANE", _switch, "off: media streams on the web framework's own path, several times dearer", default=True
    )
    data_dir: Path = _setting(  # noqa: RUF009 (a Path is never changed)
        "DATA_DIR", _directory, "Where the backend keeps what must outlive it", default=Path("data")
    )
    store: bool = _setting("STORE", _switch, "off: nothing is kept of a call", default=True)
    database_url: str | None = _setting(
        "DATABASE_URL", _database_url, "A PostgreSQL to keep calls in, instead of a file in DATA_DIR", secret=True
    )
    retention_days: int = _setting(
        "RETENTION_DAYS", _days, "How long an ended call is kept, in days (0: for ever)", default=30
    )
    log_format: Literal["text", "json"] = _setting(
        "LOG_FORMAT", _one_of("text", "json"), "text, or json for machines", default="text"
    )
    log_level: str = _setting(
        "LOG_LEVEL", _one_of("DEBUG", "INFO", "WARNING", "ERROR"), "How much is logged", default="INFO"
    )

    # The texts that the settings were read from: the agents' file may name any variable of the environment.
    values: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    rehearsal: bool = False  # no TWILIO_AUTH_TOKEN was set: the token is one made here, and real calls are refused

    def __post_init__(self) -> None:
        if not self.base_url:
            object.__setattr__(self, "base_url", f"https://{self.domain}")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> Config:
        """Read the settings from ``environ`` (the process's own by default) over those of ``env_file``.

        Raises `ConfigError` with every problem found.
        """
        return cls.parse(read_settings(environ, env_file))

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Config:
        """Make the settings from texts by their environment names. An empty text counts as not set.

        A secret may also be in a file, which ``NAME_FILE`` names. Raises `ConfigError` with every problem found.
        """
        found: dict[str, Any] = {}
        problems = []
        for field in settings():
            try:
                if text := _text_of(field, values):
                    found[field.name] = field.metadata["read"](text)
            except ValueError as exc:
                problems.append(f"{field.metadata['env']}: {exc}")
        problems += _missing_of_azure(values)
        if problems:
            raise ConfigError(problems)
        return cls(**found, values=values)

    def with_rehearsal_token(self) -> Config:
        """These settings with an auth token in any case: without ``TWILIO_AUTH_TOKEN``, one made at random.

        It is kept in ``DATA_DIR`` for the next start and for `callgate phone` on this machine.
        Raises `ConfigError` where the directory can't be written.
        """
        if self.twilio_auth_tokens:
            return self
        token = _keep(self.data_dir / REHEARSAL_TOKEN_FILE, secrets.token_hex(16))
        return dataclasses.replace(self, twilio_auth_tokens=(token,), rehearsal=True)

    @property
    def edge_proof(self) -> str:
        """What stands in the addresses that Twilio is told, so that the edge knows them (`edge_proof`); empty where
        there is nothing to make it of."""
        keys = self.edge_keys or self.twilio_auth_tokens
        return edge_proof(keys[0]) if keys else ""

    @property
    def uses_openai(self) -> bool:
        """Whether calls are answered by OpenAI, or by another server of its protocol."""
        return self.openai_api_key is not None or self.openai_realtime_url is not None

    @property
    def uses_azure(self) -> bool:
        """Whether calls are answered by Azure OpenAI, alone or where OpenAI has no session."""
        return None not in (self.azure_openai_endpoint, self.azure_openai_api_key, self.azure_openai_deployment)

    @property
    def uses_line_check(self) -> bool:
        """Whether calls are answered by the embedded line check, as no model's server is named."""
        return not self.uses_openai and not self.uses_azure

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the log to mask."""
        password = self.database_url and urlsplit(self.database_url).password
        keys = (self.openai_api_key, self.azure_openai_api_key)
        others = (self.admin_token, *keys, self.database_url, password, password and unquote(password))
        proofs = map(edge_proof, (*self.edge_keys, *self.twilio_auth_tokens))
        return (*self.twilio_auth_tokens, *self.edge_keys, *proofs, *(secret for secret in others if secret))

    def warnings(self) -> list[str]:
        """What an operator should know at every start, one sentence each."""
        found = []
        if self.rehearsal:
            found.append(
                "TWILIO_AUTH_TOKEN is not set: only rehearsal calls (callgate phone) are answered, real calls will be "
                "refused. Set it to the auth token of your Twilio account."
            )
        if self.uses_line_check:
            found.append(
                "OPENAI_API_KEY is not set: the line check answers calls. It greets and says the caller's words back."
            )
        if urlsplit(self.base_url).hostname == "localhost":
            found.append("Neither DOMAIN nor BASE_URL is set: Twilio can't reach https://localhost.")
        for name, model in (("OPENAI_MODEL", self.openai_model), ("OPENAI_FALLBACK_MODEL", self.openai_fallback_model)):
            if model in ("gpt-realtime", "gpt-realtime-mini"):
                found.append(f"{name}={model} shuts down on 2027-01-20: use gpt-realtime-2.1.")
        if self.openai_fallback_model and not self.uses_openai:
            found.append("OPENAI_FALLBACK_MODEL is not used: OPENAI_API_KEY is not set.")
        return found


def settings() -> list[dataclasses.Field[Any]]:
    """The fields of `Config` that are read from the environment."""
    return [field for field in dataclasses.fields(Config) if "env" in field.metadata]


def _text_of(field: dataclasses.Field[Any], values: Mapping[str, str]) -> str:
    name = field.metadata["env"]
    text, path = values.get(name, "").strip(), values.get(f"{name}_FILE", "").strip()
    if not path or not field.metadata["secret"]:
        return text
    if text:
        raise ValueError(f"{name}_FILE is set too: keep one of them")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"{name}_FILE is {path}, which can't be read: {getattr(exc, 'strerror', exc)}") from exc


def _missing_of_azure(values: Mapping[str, str]) -> list[str]:
    """What Azure OpenAI lacks, where something of it is set: one sentence each."""
    given = [name for name in AZURE if values.get(name, "").strip()]
    if values.get("AZURE_OPENAI_API_KEY_FILE", "").strip():
        given.append("AZURE_OPENAI_API_KEY")
    missing = [name for name in AZURE if given and name not in given]
    return [f"{name}: it is not set, but {given[0]} is: Azure OpenAI needs {', '.join(AZURE)}" for name in missing]


def read_settings(environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> dict[str, str]:
    """The texts of all settings: the environment's over those of ``env_file``, where there is one."""
    values = {key: value or "" for key, value in dotenv_values(env_file).items()} if env_file else {}
    values.update(os.environ if environ is None else environ)
    return values


def rehearsal_token(data_dir: Path) -> str | None:
    """The token that a service without ``TWILIO_AUTH_TOKEN`` made, if it has run here."""
    try:
        return (data_dir / REHEARSAL_TOKEN_FILE).read_text().strip() or None
    except OSError:
        return None


def _keep(path: Path, value: str) -> str:
    """What ``path`` holds; ``value``, written there first, where it does not exist. Safe between processes."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(value + "\n")
            try:
                os.link(draft, path)  # fails where another process was first
            except FileExistsError:
                logging.getLogger(__name__).debug("%s was made by another process", path.name)
            draft.unlink()
        return path.read_text().strip()
    except OSError as exc:
        raise ConfigError(
            [f"DATA_DIR: {path.parent} can't be used ({exc.strerror}): name a directory this user can write"]
        ) from exc


def as_log_level(name: str) -> int:
    """The number of a ``LOG_LEVEL``."""
    return cast(int, logging.getLevelName(name))
