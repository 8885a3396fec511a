"""The servers that model sessions come from; a call does not depend on which one serves its model. No I/O.

All of them speak OpenAI's GA Realtime protocol (`realtime`), so they differ only in their `Endpoint`. Sources:
https://platform.openai.com/docs/api-reference/realtime and
https://learn.microsoft.com/azure/foundry/openai/how-to/realtime-audio-websockets (GA version).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from callgate.config.settings import OPENAI_URL, Config

LINE_CHECK: Final = "the line check"
LINE_CHECK_MODEL: Final = "line-check"  # the model name that its sessions use
OPENAI: Final = "OpenAI Realtime API"
AZURE: Final = "Azure OpenAI Realtime API"
AZURE_PATH: Final = "/openai/v1/realtime"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of model sessions, and the model to request.

    ``name``: for the log; ``if_refused``: what an operator should check when the server refuses sessions.
    ``has_any_model``: an agent may request another model from it.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)  # includes the API key
    model: str = ""
    if_refused: str = ""
    has_any_model: bool = False

    def asked_for(self, model: str | None) -> Endpoint:
        """Return this server with another model to request, if it allows that."""
        if model is None or model == self.model or not self.has_any_model:
            return self
        return replace(
            self,
            name=f"{self.name} ({model})",
            url=_with_model(self.url, model),
            model=model,
            if_refused=f"Check OPENAI_API_KEY, and that its project may use {model} (AGENTS_FILE)",
        )


def endpoints(config: Config, line_check_url: str | None = None) -> tuple[Endpoint, ...]:
    """Return the servers that the settings name, in the order in which they are tried; the line check if they name
    none."""
    if config.uses_line_check:
        if line_check_url is None:
            raise ValueError("the settings call for the line check, but its URL is missing")
        return (Endpoint(LINE_CHECK, line_check_url, model=LINE_CHECK_MODEL),)
    return (*_openai(config), *_azure(config))


def _openai(config: Config) -> tuple[Endpoint, ...]:
    """Return OpenAI, or another server of its protocol, with the model and the fallback model, if there is one."""
    if not config.uses_openai:
        return ()
    url = config.openai_realtime_url or OPENAI_URL
    name = OPENAI if config.openai_realtime_url is None else f"Realtime API at {urlsplit(url).netloc}"
    key = config.openai_api_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    first = Endpoint(
        name,
        _with_model(url, model := _model_in(url) or config.openai_model),
        headers,
        model,
        "Check OPENAI_API_KEY, and that its project may use OPENAI_MODEL",
        has_any_model=True,
    )
    if (fallback := config.openai_fallback_model) is None:
        return (first,)
    second = Endpoint(
        f"{name} ({fallback})",
        _with_model(url, fallback),
        headers,
        fallback,
        "Check OPENAI_API_KEY, and that its project may use OPENAI_FALLBACK_MODEL",
    )
    return (first, second)


def _azure(config: Config) -> tuple[Endpoint, ...]:
    resource, key, deployment = (
        config.azure_openai_endpoint,
        config.azure_openai_api_key,
        config.azure_openai_deployment,
    )
    if resource is None or key is None or deployment is None:
        return ()
    parts = urlsplit(resource)
    scheme = "wss" if parts.scheme == "https" else "ws"
    url = _with_model(f"{scheme}://{parts.netloc}{AZURE_PATH}", deployment)
    if_refused = "Check AZURE_OPENAI_API_KEY, and that AZURE_OPENAI_DEPLOYMENT is a deployment of AZURE_OPENAI_ENDPOINT"
    return (Endpoint(AZURE, url, {"api-key": key}, deployment, if_refused),)


def _model_in(url: str) -> str | None:
    """Return the model that a URL names already."""
    return dict(parse_qsl(urlsplit(url).query)).get("model")


def _with_model(url: str, model: str) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "model"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("model", model)])))
