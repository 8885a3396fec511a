"""How the text of each setting is parsed. For an invalid text, the `ValueError` says what would be valid."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from callgate.core.gate.call_request import VOICEMAIL_HELP, is_voicemail
from callgate.core.gate.numbers import NOBODYS, PATTERN, read_number
from callgate.core.units import SECONDS
from callgate.core.withheld import is_withheld

AZURE: Final = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_DEPLOYMENT")  # all set, or none

WHY_WSS: Final = (
    "Twilio Media Streams connects only to wss:// on port 443, and the stream's URL is made from BASE_URL: "
    "set BASE_URL=https://YOUR_DOMAIN (or the https:// address of your tunnel)"
)


def text(value: str) -> str:
    return value


def base_url(value: str) -> str:
    url = value.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme in ("http", "ws"):
        raise ValueError(f"{value!r} is not encrypted. {WHY_WSS}")
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"{value!r} is not an https:// address. {WHY_WSS}")
    if parts.port not in (None, 443):
        raise ValueError(f"{value!r} names port {parts.port}. {WHY_WSS}")
    if parts.query or parts.fragment or parts.username:
        raise ValueError(f"{value!r} must contain only a host name, and optionally a path")
    return url.replace(":443", "", 1) if parts.port else url


def domain(value: str) -> str:
    name = value.rstrip(".").lower()
    if not re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*", name):
        raise ValueError(
            f"{value!r} is not a host name: write it without https:// and without a path, as in voice.example.com"
        )
    return name


def email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"{value!r} is not an e-mail address")
    return value


def port(value: str) -> int:
    return _whole(value, 0, 65535)


def count(value: str) -> int:
    return _whole(value, 1, 10_000)


def seconds(value: str) -> float:
    return _whole(value, 0, 24 * 3600) * SECONDS


def _whole(value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
        raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
    return int(value)


def secret(value: str) -> str:
    if not re.fullmatch(r"[ -~]+", value):  # it is sent in a header
        raise ValueError(
            "it contains a character that is not printable ASCII, such as a tab, an invisible one, or a dash made by a "
            "word processor: copy it again from where you have it"
        )
    return value


def keys(value: str) -> tuple[str, ...]:
    """Parse secrets that the edge's shell separates too, which takes those with these characters apart."""
    found = tuple(secret(part) for part in (part.strip() for part in value.split(",")) if part)
    if any(re.search(r"[\s*?\[\]\\]", key) for key in found):
        raise ValueError(r"it must not contain spaces or any of * ? [ ] \: letters and digits will do")
    return found


def account_sid(value: str) -> str:
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", value):
        raise ValueError("it must be AC and 32 hexadecimal digits, as the Twilio console shows it")
    return value


def phone_number(value: str) -> str:
    number = read_number(value)
    if number is None or "+" not in value:
        raise ValueError("a phone number is written with + and country code, as in +15551230000")
    if is_withheld(number):
        raise ValueError(NOBODYS)
    return number


def phone_numbers(value: str) -> tuple[str, ...]:
    return tuple(phone_number(part) for part in value.split(",") if part.strip())


def allowed_numbers(value: str) -> tuple[str, ...]:
    return tuple(_allowed_number(part) for part in value.split(",") if part.strip())


def _allowed_number(value: str) -> str:
    if "*" not in value:
        return phone_number(value)
    prefix = re.sub(r"[\s().-]", "", value)
    if not PATTERN.fullmatch(prefix):
        raise ValueError("a prefix is written with + and country code and ends in *, as in +1555*; * is any number")
    return prefix


def voicemail(value: str) -> str:
    if not is_voicemail(value):
        raise ValueError(f"it must be {VOICEMAIL_HELP}")
    return value


def call_seconds(value: str) -> int:
    return _whole(value, 10, 4 * 3600)


def realtime_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{value!r} is not a wss:// address")
    if parts.scheme == "ws" and not _is_private(parts.hostname):
        raise ValueError(
            f"{value!r} would send the call and the API key unencrypted over a public network: use "
            "wss:// (ws:// is for this machine or a private network)"
        )
    return value


def azure_endpoint(value: str) -> str:
    parts = urlsplit(value.rstrip("/").removesuffix("/openai/v1"))
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"{value!r} is not an Azure OpenAI resource: write https://RESOURCE.openai.azure.com")
    if parts.scheme == "http" and not _is_private(parts.hostname):
        raise ValueError(f"{value!r} would send the call and the API key unencrypted: use https://")
    return f"{parts.scheme}://{parts.netloc}"


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name: without dots it is a neighbour (a container); the others are reserved for private use
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private


def database_url(value: str) -> str:
    try:
        valid = _is_database_url(value)
    except ValueError:
        valid = False
    if not valid:  # the value is not shown, as it may contain a password
        raise ValueError(
            "it must be a PostgreSQL address, as in postgresql://USER:PASSWORD@HOST:5432/DATABASE; special characters "
            "in the user and the password (/ ? # @ and the like) are written as %XX"
        )
    return value


def _is_database_url(value: str) -> bool:
    """Whether it is a PostgreSQL URL in which every character is unambiguous. Raises `ValueError` if it is not a
    URL."""
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        return False
    # A password with an unescaped / ? # @ ends too early. What follows that character would be taken for a host, a
    # port, a database or an option, and so be shown.
    login, _, hosts = parts.netloc.rpartition("@")
    if parts.fragment or "@" in login + parts.path + parts.query:
        return False
    if parts.query:
        parse_qsl(parts.query, strict_parsing=True)
    for host in hosts.split(","):
        _ = urlsplit(f"//{host}").port  # raises if it is not a number
    return True


def days(value: str) -> int:
    return _whole(value, 0, 36_500)


def switch(value: str) -> bool:
    if value.lower() not in ("on", "off"):
        raise ValueError(f"{value!r} is neither on nor off")
    return value.lower() == "on"


def one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")

    return read


def missing_of_azure(values: Mapping[str, str]) -> list[str]:
    """Return one sentence for each missing Azure OpenAI setting, if any of them is set."""
    given = [name for name in AZURE if values.get(name, "").strip()]
    if values.get("AZURE_OPENAI_API_KEY_FILE", "").strip():
        given.append("AZURE_OPENAI_API_KEY")
    missing = [name for name in AZURE if given and name not in given]
    return [f"{name}: it is not set, but {given[0]} is: Azure OpenAI needs {', '.join(AZURE)}" for name in missing]
