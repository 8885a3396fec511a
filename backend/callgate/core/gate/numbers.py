"""Telephone numbers: how they are read, and which may be dialled. Pure.

Two lists decide which numbers may be dialled. The owner lists numbers, in full or as prefixes (``+1555*``, or ``*`` for
any). `DENIED` is subtracted from what the prefixes allow: networks and numbers on which the caller pays the far end,
which is what a stolen token is used for. A number that is listed in full may always be dialled.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from callgate.core.withheld import is_withheld

NOBODYS: Final = "it is nobody's number, but what Twilio writes for a caller who withholds theirs"

E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
PATTERN: Final = re.compile(r"\+[1-9][0-9]{0,14}\*|\*")

# By kind. Sources: ITU-T E.164's list of assigned codes; NANPA's area codes; the countries' numbering plans.
DENIED: Final = {
    "satellite and international networks": ("870", "878", "881", "882", "883"),
    "international premium and shared-cost services": ("808", "979"),
    "premium numbers of North America": ("1900", "1976"),
    "islands in the North American plan, which are charged as international calls": (
        "1242", "1246", "1264", "1268", "1284", "1345", "1441", "1473", "1649", "1658", "1664", "1721", "1758", "1767",
        "1784", "1809", "1829", "1849", "1868", "1869", "1876",
    ),
    "small networks known for shared revenue": ("246", "247", "290", "500", "672", "674", "675", "677", "678", "682",
                                                "683", "685", "686", "688", "690", "692"),
    "premium numbers of Austria": ("43900", "43901", "43930", "43931", "43939"),
    "premium numbers of Australia": ("6119",),
    "premium numbers of Belgium": ("3290",),
    "premium numbers of Bulgaria": ("35990",),
    "premium numbers of Croatia": ("38560",),
    "premium numbers of Cyprus": ("357900", "357909"),
    "premium numbers of Czechia": ("420900", "420906", "420909"),
    "premium numbers of Denmark": ("4590",),
    "premium numbers of Estonia": ("372900",),
    "premium numbers of Finland": ("358600", "358700"),
    "premium numbers of France": ("3389",),
    "premium numbers of Germany": ("49900", "49137"),
    "premium numbers of Greece": ("30901", "30909"),
    "premium numbers of Hungary": ("3690", "3691"),
    "premium numbers of Iceland": ("35490",),
    "premium numbers of Italy": ("3989",),
    "premium numbers of Japan": ("81990", "81570"),
    "premium numbers of the Netherlands": ("31900", "31906", "31909"),
    "premium numbers of Latvia": ("37190",),
    "premium numbers of Lithuania": ("370900", "370903"),
    "premium numbers of Luxembourg": ("352900", "352901", "352905"),
    "premium numbers of Moldova": ("373900",),
    "premium numbers of Norway": ("47820", "47829"),
    "premium numbers of Poland": ("4870",),
    "premium numbers of Portugal": ("351760", "351761", "351762"),
    "premium numbers of Romania": ("40900", "40903", "40906"),
    "premium numbers of Russia": ("7803", "7809"),
    "premium numbers of Serbia": ("38190",),
    "premium numbers of Slovakia": ("421900",),
    "premium numbers of Slovenia": ("38690",),
    "premium numbers of Spain": ("34803", "34806", "34807", "34905", "34907"),
    "premium numbers of Sweden": ("46900", "46939", "46944"),
    "premium numbers of Switzerland": ("41900", "41901", "41906"),
    "premium numbers of Turkey": ("90900",),
    "premium numbers of Ukraine": ("380900",),
    "premium and personal numbers of the United Kingdom": ("449", "4470", "44871", "44872", "44873"),
}  # fmt: skip


def read_number(text: str) -> str | None:
    """Return the E.164 form of a number as people and query strings write it (where ``+`` becomes a space), or None if
    it is not such a number."""
    bare = re.sub(r"[\s().-]", "", text)
    number = bare if bare.startswith("+") else f"+{bare}"
    return number if E164.fullmatch(number) else None


def why_denied(number: str, allowed: Collection[str]) -> str | None:
    """Return why an E.164 ``number`` may not be dialled, or None if it may. ``allowed``: numbers, and prefixes that end
    in ``*``."""
    if is_withheld(number):
        return NOBODYS
    if number in allowed:
        return None
    if not any(entry.endswith("*") and number.startswith(entry[:-1]) for entry in allowed):
        return "it is not listed in OUTBOUND_ALLOW"
    for kind, prefixes in DENIED.items():
        if number[1:].startswith(prefixes):
            return f"it is one of the {kind}, which OUTBOUND_ALLOW must list in full"
    return None
