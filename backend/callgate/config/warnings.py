"""What an operator should know of the settings at every start."""

from __future__ import annotations

from urllib.parse import urlsplit

from .settings import Config


def warnings(config: Config) -> list[str]:
    """Return what an operator should know at every start, one sentence each."""
    found = []
    if config.rehearsal:
        found.append(
            "TWILIO_AUTH_TOKEN is not set: only rehearsal calls (callgate phone) are answered, real calls will be "
            "refused. Set it to the auth token of your Twilio account."
        )
    if config.uses_line_check:
        found.append(
            "OPENAI_API_KEY is not set: the line check answers calls. It greets callers and repeats their words."
        )
    if urlsplit(config.base_url).hostname == "localhost":
        found.append("Neither DOMAIN nor BASE_URL is set: Twilio can't reach https://localhost.")
    for name, model in (("OPENAI_MODEL", config.openai_model), ("OPENAI_FALLBACK_MODEL", config.openai_fallback_model)):
        if model in ("gpt-realtime", "gpt-realtime-mini"):
            found.append(f"{name}={model} shuts down on 2027-01-20: use gpt-realtime-2.1.")
    if config.openai_fallback_model and not config.uses_openai:
        found.append("OPENAI_FALLBACK_MODEL is not used: OPENAI_API_KEY is not set.")
    return found
