"""The settings as the set-up sees them: from this run's options, from .env, and from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from callgate.config.names import SET_BY_THE_BUNDLE, known
from callgate.config.settings import Config
from callgate.config.settings import settings as config_fields
from callgate.config.sources import read_secret as read_secret_file
from callgate.config.sources import text_of
from callgate.errors import ConfigError

from .env_file import EnvFile
from .refusal import SetupRefused

FIELDS: Final = {field.metadata["env"]: field for field in config_fields()}
# Names reserved for documentation and special use (RFC 2606, RFC 6761). .env.example's domain is not an answer.
NOBODYS: Final = ("example.com", "example.org", "example.net", "example", "invalid", "localhost")
SECRETS: Final = frozenset(name for name, field in FIELDS.items() if field.metadata["secret"])


@dataclass(frozen=True, slots=True)
class Settings:
    """``given``: from options, which take precedence. ``environ``: from the environment, used only for what .env lacks,
    so that a key exported for another program never replaces the one in .env.
    """

    env_file: EnvFile
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def texts(self) -> dict[str, str]:
        """Return all settings by name. A secret that .env keeps in a file is listed only as ``NAME_FILE``."""
        kept = self._kept()
        found: dict[str, str] = {}
        for name in FIELDS:
            in_file = f"{name}_FILE"
            if name in SECRETS and in_file in kept and name not in self.given:
                found |= {key: kept[key] for key in (name, in_file) if key in kept}  # both: refused later
            elif text := self.given.get(name) or kept.get(name) or self._from_environ(name):
                found[name] = text
        return found

    def text(self, name: str) -> str:
        """Return a setting's text, or "" if it is not set. Raises `SetupRefused` if its file can't be read."""
        texts = self.texts()
        if name not in texts and (path := texts.get(f"{name}_FILE")):
            return read_secret(f"{name}_FILE", Path(path))
        return texts.get(name, "")

    def overriding(self, environ: Mapping[str, str]) -> list[str]:
        """Return the names of the settings in .env that ``environ`` sets otherwise. Compose takes the environment's."""
        kept, found = self._kept(), []
        for name in sorted((known() - SET_BY_THE_BUNDLE) & environ.keys()):
            # A secret and the file that contains it are one setting.
            in_env = {kept.get(other) for other in {name, name.removesuffix("_FILE"), f"{name}_FILE"}} - {None}
            if in_env - {environ[name].strip()}:
                found.append(name)
        return found

    def config(self) -> Config:
        """Parse all settings. Raises `SetupRefused` if any is invalid."""
        try:
            return Config.parse(self.texts())
        except ConfigError as exc:
            raise SetupRefused(
                str(self.env_file.path),
                found="; ".join(exc.problems),
                wanted="settings as described in docs/configuration.md",
                do="correct them in the file, or give them as options",
            ) from exc

    def _kept(self) -> dict[str, str]:
        kept = self.env_file.read()
        if is_nobodys(kept.get("DOMAIN", "")):
            del kept["DOMAIN"]
        return kept

    def _from_environ(self, name: str) -> str:
        if name in SECRETS and (path := self.environ.get(f"{name}_FILE", "").strip()):
            return read_secret(f"{name}_FILE", Path(path))
        return self.environ.get(name, "").strip()


def is_nobodys(domain: str) -> bool:
    """Whether the name is reserved, so that no operator can own it."""
    return any(domain == name or domain.endswith(f".{name}") for name in NOBODYS)


def check_form(name: str, text: str) -> Any:
    """Return the setting's value. Raises `SetupRefused` if the text is not a valid one."""
    try:
        return FIELDS[name].metadata["read"](text_of(name, {name: text}))
    except ValueError as exc:
        raise SetupRefused(name, found=str(exc), wanted=FIELDS[name].metadata["help"], do="enter it again") from exc


def read_secret(name: str, path: Path) -> str:
    """Return the secret in a file. Raises `SetupRefused` if the file can't be read, or is empty."""
    try:
        text = read_secret_file(path)
    except ValueError as exc:
        raise SetupRefused(
            name, found=f"{path} {exc}", wanted="a file with the secret", do="name another file"
        ) from exc
    if not text:
        raise SetupRefused(name, found=f"{path} is empty", wanted="a file with the secret", do="name another file")
    return text
