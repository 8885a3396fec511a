"""Whether an answer works, found out at once. Each check returns a sentence, or raises `SetupRefused`."""

from __future__ import annotations

import ipaddress
from typing import Final

from callgate.operator.ask import UnreachableError

from .outside import Outside
from .refusal import SetupRefused
from .settings import is_nobodys

OPENAI: Final = "https://api.openai.com/v1"


def check_domain(domain: str, outside: Outside, *, own_authority: bool) -> str:
    """The name leads to this machine, as far as can be seen from here.

    ``own_authority``: the certificate is not Let's Encrypt's; another ACME server may know private networks.
    """
    do = (
        "set its A record to this machine's public address (and its AAAA record, or none), and wait until that is known"
    )
    wanted = "this machine's public address"
    if is_nobodys(domain):
        raise SetupRefused("DOMAIN", found=f"{domain}, which is nobody's own", wanted="a domain of yours", do="name it")
    try:
        found = outside.addresses(domain)
    except UnreachableError as exc:
        raise SetupRefused("DOMAIN", found=f"{domain} does not resolve ({exc})", wanted=wanted, do=do) from exc
    private = [address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_global]
    if private and not own_authority:
        raise SetupRefused(
            "DOMAIN", found=f"{domain} is {private[0]}, which is not a public address", wanted=wanted, do=do
        )
    here = [address for address in found if outside.is_here(address)]
    elsewhere = [address for address in found if address not in here]
    if not elsewhere:
        return f"{domain} is {', '.join(here)}: this machine."
    if here:
        return (
            f"{domain} is {', '.join(here)}, this machine, and {', '.join(elsewhere)}, which is none of its addresses: "
            "if that is not another way to here, remove the record, or the certificate and some calls will fail."
        )
    if not private and (known := outside.leads_here(domain)) is not None:
        if known:
            return f"{domain} is {', '.join(elsewhere)}, and leads to this machine."
        raise SetupRefused(
            "DOMAIN", found=f"another machine answers at {domain}, {', '.join(elsewhere)}", wanted=wanted, do=do
        )
    return (
        f"{domain} is {', '.join(elsewhere)}. No interface here has that address, which is as it should be behind a "
        "router or a cloud's address translation; the certificate's step tries it."
    )


def check_openai(key: str, model: str, outside: Outside) -> str:
    """OpenAI takes the key, and has the model for it."""
    try:
        answer = outside.fetch("GET", f"{OPENAI}/models/{model}", {"Authorization": f"Bearer {key}"})
    except UnreachableError as exc:
        raise SetupRefused(
            "OPENAI_API_KEY",
            found=f"api.openai.com can't be reached ({exc})",
            wanted="an answer over https",
            do="check this machine's network, its DNS and its clock",
        ) from exc
    if answer.status == 200:
        ends = (answer.document or {}).get("shutdown_date")
        return f"OpenAI takes the key, and has {model}." + (f" It shuts down on {ends}." if ends else "")
    raise _refused_by_openai(answer.status, model)


def _refused_by_openai(status: int, model: str) -> SetupRefused:
    if status == 401:
        return SetupRefused(
            "OPENAI_API_KEY",
            found="OpenAI does not know this key (401)",
            wanted="a secret key of your project",
            do="make one at platform.openai.com, under API keys",
        )
    if status in (403, 404):
        return SetupRefused(
            "OPENAI_API_KEY",
            found=f"the key may not use {model} ({status})",
            wanted="a key whose project may use the model",
            do="allow the model in the project's limits, or set OPENAI_MODEL to one that it has",
        )
    return SetupRefused(
        "OPENAI_API_KEY",
        found=f"OpenAI answered {status}",
        wanted="200",
        do="look at status.openai.com and at the account's limits, and try again",
    )


def check_service(base_url: str, outside: Outside) -> str:
    """The service answers at its public address, with a certificate that is trusted."""
    url = f"{base_url}/healthz"
    wanted = "200 over a trusted certificate, as Twilio needs it"
    do = "scripts/setup.sh cert start"
    try:
        answer = outside.fetch("GET", url, {})
    except UnreachableError as exc:
        raise SetupRefused(url, found=str(exc), wanted=wanted, do=do) from exc
    if answer.status != 200:
        raise SetupRefused(url, found=f"{answer.status}", wanted=wanted, do=f"{do}; is the address another server's?")
    return f"{base_url} answers."
