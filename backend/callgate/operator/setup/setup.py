"""What all steps share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from callgate.config.settings import Config

from .account import Account
from .env_file import EnvFile
from .kept import FILE, KeptNumbers
from .outside import Outside
from .refusal import SetupRefused
from .settings import Settings
from .terminal import Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One run of the script, in the project's ``folder``."""

    folder: Path
    settings: Settings
    terminal: Terminal
    outside: Outside
    fallback_url: str | None = None
    wanted_call: bool = False  # the step ``call`` was named on the command line

    @property
    def env_file(self) -> EnvFile:
        """The .env file that the bundle reads."""
        return self.settings.env_file

    @property
    def kept(self) -> KeptNumbers:
        """The file with the numbers' previous webhooks."""
        return KeptNumbers(self.folder / FILE)

    def account(self, config: Config) -> Account:
        """Return the Twilio account in the settings. Raises `SetupRefused` if there is none."""
        if config.twilio_account_sid is None or not config.twilio_auth_tokens:
            raise SetupRefused(
                "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
                found="at least one of them is not set",
                wanted="both",
                do="run scripts/setup.sh env",
            )
        return Account(config.twilio_account_sid, config.twilio_auth_tokens[0], self.outside.twilio)


def is_on_own_domain(config: Config) -> bool:
    """Whether calls come to the bundle's own nginx, and not through a tunnel with its own certificate."""
    return config.base_url == f"https://{config.domain}"
