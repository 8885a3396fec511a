"""What each type of an authority's problem means, what to do about it, and which new start heals it. Pure.

The types are those of RFC 8555 (section 6.7), RFC 9773 (section 7.4) and the drafts that Let's Encrypt implements.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final


class Start(enum.IntEnum):
    """With how much of what certbot remembers it starts. A higher one forgets more."""

    AS_IT_IS = 0
    #: Without what it keeps of the certificate; the accounts stay.
    WITHOUT_CERTIFICATE = 1
    #: Without anything; it makes a new account.
    AFRESH = 2


@dataclass(frozen=True, slots=True)
class Meaning:
    """A cause, what a person can do about it, and the start with which certbot gets past it, if there is one."""

    cause: str
    todo: str
    heals: Start | None = None


RETRIED: Final = "nothing, the keeper will retry"
NEW_ACCOUNT: Final = "nothing, the keeper makes a new account"

_ANOTHER_SERVER: Final = Meaning(
    "another server answers at this name on port 80",
    "point the A and AAAA records to this machine, and put nothing in front of nginx on port 80",
)

#: Problems with a challenge: they are about a name, and what answers there.
CHALLENGES: Final = {
    "dns": Meaning("the name does not resolve", "set its A record (and AAAA, if there is IPv6) to this machine"),
    "dnssec": Meaning("the name's DNSSEC signatures are not valid", "repair them, or remove its DS record"),
    "unknownHost": Meaning("the name does not resolve", "set its A record to this machine"),
    "connection": Meaning(
        "the authority can't reach it on port 80",
        "open port 80 to the world (firewall, security group, router), and point the DNS records to this machine",
    ),
    "unauthorized": _ANOTHER_SERVER,
    "incorrectResponse": _ANOTHER_SERVER,
    "caa": Meaning(
        "the domain's CAA record forbids this authority",
        'add a CAA record 0 issue "letsencrypt.org", or remove the existing ones',
    ),
    "tls": Meaning(
        "the authority was redirected to a TLS server that it can't talk to", "let this machine answer port 80"
    ),
    "malformed": Meaning("the authority does not accept this name", "check the name; http-01 does not allow wildcards"),
    "serverInternal": Meaning("the authority has an internal error", RETRIED),
}

#: With DNS-01, the record that certbot wrote is what the authority did not find.
DNS_CHALLENGES: Final = {
    **CHALLENGES,
    "unauthorized": Meaning(
        "the authority found no, or another, TXT record at _acme-challenge",
        "check that ACME_DNS_CREDENTIALS are for the zone that the world sees, and set ACME_DNS_SECONDS higher",
    ),
    "dns": Meaning(
        "the authority could not look up the TXT record at _acme-challenge",
        "check that ACME_DNS_CREDENTIALS are for the zone that the world sees, and set ACME_DNS_SECONDS higher",
    ),
}

#: Problems with anything else: the account, the order, the request.
PROBLEMS: Final = {
    # The account.
    "accountDoesNotExist": Meaning("the authority does not know our account", NEW_ACCOUNT, Start.AFRESH),
    "unauthorized": Meaning("the authority does not accept our account", NEW_ACCOUNT, Start.AFRESH),
    "badPublicKey": Meaning("the authority does not accept our account's key", NEW_ACCOUNT, Start.AFRESH),
    "badSignatureAlgorithm": Meaning("the authority does not accept our account's key", NEW_ACCOUNT, Start.AFRESH),
    "invalidContact": Meaning("the authority does not accept the e-mail address", "correct ACME_EMAIL, or unset it"),
    "invalidEmail": Meaning("the authority does not accept the e-mail address", "correct ACME_EMAIL, or unset it"),
    "unsupportedContact": Meaning(
        "the authority does not accept the e-mail address", "correct ACME_EMAIL, or unset it"
    ),
    "externalAccountRequired": Meaning(
        "the authority issues only to its customers (external account binding)",
        "set ACME_EAB_KID and ACME_EAB_HMAC_KEY to what it gave you, or use Let's Encrypt",
    ),
    "userActionRequired": Meaning("the authority wants you to agree to something", "follow the link in its message"),
    # The order.
    "alreadyReplaced": Meaning(
        "the authority has replaced this certificate already",
        "nothing, the keeper asks for a new one",
        Start.WITHOUT_CERTIFICATE,
    ),
    "rejectedIdentifier": Meaning("the authority does not issue for this name", "check the name, or use another one"),
    "unsupportedIdentifier": Meaning("the authority issues no certificates for this kind of name", "use a host name"),
    "invalidProfile": Meaning(
        "the authority does not offer this profile", "set ACME_PROFILE to one that it offers, or unset it"
    ),
    "orderNotReady": Meaning("the authority was not done with the challenges in time", RETRIED),
    "badCSR": Meaning(
        "the authority does not accept the request for the certificate",
        "check the names; for another kind of key, set CERTIFICATE_KEYS",
    ),
    "compound": Meaning("the authority names several problems", "read its message"),
    "caa": CHALLENGES["caa"],
    "dns": CHALLENGES["dns"],
    "dnssec": CHALLENGES["dnssec"],
    "connection": CHALLENGES["connection"],
    "tls": CHALLENGES["tls"],
    "incorrectResponse": CHALLENGES["incorrectResponse"],
    # The connection.
    "badNonce": Meaning(
        "the authority refused our nonces again and again",
        f"{RETRIED}; if this persists, look for a proxy in front of the authority",
    ),
    "malformed": Meaning("the authority does not understand the request", RETRIED),
    "serverInternal": Meaning("the authority has an internal error", f"{RETRIED}; see https://letsencrypt.status.io"),
}

_LATE: Final = Meaning("the authority was not done with the challenges in time", RETRIED)
_BINDING: Final = Meaning(
    "the authority does not accept the external account binding", "check ACME_EAB_KID and ACME_EAB_HMAC_KEY"
)
_REPLACED: Final = Meaning(
    "the authority refuses to replace the certificate that is kept",
    "nothing, the keeper asks for a new one",
    Start.WITHOUT_CERTIFICATE,
)
_OUR_NAME: Final = Meaning("the authority does not accept this name", "check DOMAIN and EXTRA_DOMAINS")
_BINDING_WORDS: Final = r"external account|\bEAB\b|binding|hmac|\bMAC\b|references a key that is not known"

#: What a type means when the authority's message says so: a pattern of types, one of words, and the meaning. The first
#: that matches counts. The words are those of Boulder (Let's Encrypt) and Pebble, and of older versions of both.
BY_MESSAGE: Final = (
    ("unauthorized|malformed", _BINDING_WORDS, _BINDING),
    ("unauthorized", r"finaliz|authorization|\border\b", _LATE),
    ("unauthorized", r"terms of service|agreement", PROBLEMS["userActionRequired"]),
    ("malformed|conflict|unauthorized|serverInternal", r"replaces|replacement|already.{0,20}replaced", _REPLACED),
    ("malformed", r"JWS|key ?id|account|registration|signature", PROBLEMS["unauthorized"]),
    ("malformed", r"profile", PROBLEMS["invalidProfile"]),
    ("malformed", r"identifier|domain|\bname\b|hostname|wildcard|public suffix|\bTLD\b", _OUR_NAME),
)


def meaning(kind: str, message: str) -> Meaning | None:
    """Explain a problem that is not about a challenge; None if its type is not known."""
    for kinds, words, found in BY_MESSAGE:
        if re.fullmatch(kinds, kind) and re.search(words, message, re.IGNORECASE):
            return found
    return PROBLEMS.get(kind)
