"""Checks whether an answer works. Each check returns a sentence for the operator, or raises `SetupRefused`."""

from __future__ import annotations

import ipaddress
from typing import Final

from callgate.core.units import SECONDS
from callgate.operator.ask import UnreachableError

from .outside import Outside
from .refusal import SetupRefused
from .settings import is_nobodys

OPENAI: Final = "https://api.openai.com/v1"
NOT_READY_YET: Final = (502, 503, 504)
SERVICE_TRIES: Final = 31
SERVICE_PAUSE: Final = 1 * SECONDS


def check_domain(domain: str, outside: Outside, *, own_authority: bool) -> str:
    """Check that the name leads to this machine, as far as this can be determined from here.

    ``own_authority``: the certificate comes from another ACME server than Let's Encrypt's, which may reach private
    networks.
    """
    do = (
        "set the A record to this machine's public address (and the AAAA record, if any, too), and wait for DNS to "
        "update"
    )
    wanted = "this machine's public address"
    if is_nobodys(domain):
        raise SetupRefused(
            "DOMAIN",
            found=f"{domain}, a reserved name that nobody can own",
            wanted="your own domain",
            do="enter your own domain",
        )
    try:
        found = outside.addresses(domain)
    except UnreachableError as exc:
        raise SetupRefused("DOMAIN", found=f"{domain} does not resolve ({exc})", wanted=wanted, do=do) from exc
    private = [address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_global]
    if private and not own_authority:
        raise SetupRefused(
            "DOMAIN", found=f"{domain} resolves to {private[0]}, which is not a public address", wanted=wanted, do=do
        )
    here = [address for address in found if outside.is_here(address)]
    elsewhere = [address for address in found if address not in here]
    if not elsewhere:
        return f"{domain} resolves to {', '.join(here)}: this machine."
    if here:
        return (
            f"{domain} resolves to {', '.join(here)}, this machine, and to {', '.join(elsewhere)}, which is not one of "
            "its addresses. Unless that also leads to this machine, remove the record, or the certificate and some "
            "calls will fail."
        )
    if not private and (known := outside.leads_here(domain)) is not None:
        if known:
            return f"{domain} resolves to {', '.join(elsewhere)}, and leads to this machine."
        raise SetupRefused(
            "DOMAIN", found=f"another machine answers at {domain} ({', '.join(elsewhere)})", wanted=wanted, do=do
        )
    return (
        f"{domain} resolves to {', '.join(elsewhere)}. No network interface here has that address, which is normal "
        "behind a router or a cloud's address translation. The cert step will show whether it leads here."
    )


def check_openai(key: str, model: str, outside: Outside) -> str:
    """Check that OpenAI accepts the key, and offers it the model."""
    try:
        answer = outside.fetch("GET", f"{OPENAI}/models/{model}", {"Authorization": f"Bearer {key}"})
    except UnreachableError as exc:
        raise SetupRefused(
            "OPENAI_API_KEY",
            found=f"api.openai.com can't be reached ({exc})",
            wanted="an answer over HTTPS",
            do="check this machine's network, DNS and clock",
        ) from exc
    if answer.status == 200:
        ends = (answer.document or {}).get("shutdown_date")
        more = f" The model will be shut down on {ends}." if ends else ""
        return f"OpenAI accepts the key, and has the model {model}.{more}"
    raise _refused_by_openai(answer.status, model)


def _refused_by_openai(status: int, model: str) -> SetupRefused:
    if status == 401:
        return SetupRefused(
            "OPENAI_API_KEY",
            found="OpenAI does not accept this key (401)",
            wanted="a secret key of your project",
            do="create one at https://platform.openai.com/api-keys",
        )
    if status in (403, 404):
        return SetupRefused(
            "OPENAI_API_KEY",
            found=f"the key may not use {model} ({status})",
            wanted="a key whose project may use this model",
            do="allow the model in the project's limits, or set OPENAI_MODEL to one that the project may use",
        )
    return SetupRefused(
        "OPENAI_API_KEY",
        found=f"OpenAI answered {status}",
        wanted="status 200",
        do="check https://status.openai.com and the account's limits, and try again",
    )


def check_service(base_url: str, outside: Outside) -> str:
    """Check that the service answers at its public address, with a trusted certificate.

    A server error is asked for again for a while: nginx looks the backend's name up every 2 s, so it can take a moment
    to find a backend that has just been started.
    """
    url = f"{base_url}/healthz"
    wanted = "status 200 over a trusted certificate, as Twilio needs it"
    do = "run scripts/setup.sh cert start"
    try:
        for tries_left in reversed(range(SERVICE_TRIES)):
            answer = outside.fetch("GET", url, {})
            if answer.status not in NOT_READY_YET or not tries_left:
                break
            outside.sleep(SERVICE_PAUSE)
    except UnreachableError as exc:
        raise SetupRefused(url, found=str(exc), wanted=wanted, do=do) from exc
    if answer.status != 200:
        raise SetupRefused(
            url, found=f"status {answer.status}", wanted=wanted, do=f"{do}; does another server have this address?"
        )
    return f"{base_url} answers."
