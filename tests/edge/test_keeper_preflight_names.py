"""What the keeper makes of DNS as this machine sees it: of good and odd answers."""

import pytest
from keeper.errors import UsageError
from keeper.look.names import Names, Trouble
from keeper.settings import Address, Settings
from support.edge.name_server import GARBAGE, LOOPBACK, SILENCE, NameServer

NAME = "voice.example.com"
CONTROL = "ca.example"
GOOD_CONTROL = {f"{CONTROL} {kind}": ["192.0.2.9"] if kind == "A" else [] for kind in ("A", "AAAA", "CAA")}


async def looked_up(zone: dict[str, str | list[str]], kind: str = "A") -> tuple[list[str], Trouble | None, str]:
    with NameServer({**GOOD_CONTROL, **zone}) as server:
        records = await Names([LOOPBACK], server.port, control=CONTROL).ask(NAME, kind)
    return [record.to_text() for record in records.values], records.trouble, records.why


@pytest.mark.parametrize(
    ("said", "trouble", "why"),
    [
        ("NXDOMAIN", Trouble.NXDOMAIN, "the name does not exist"),
        (["CNAME gone.example"], Trouble.NXDOMAIN, "it is an alias of gone.example, which does not exist"),
        ("SERVFAIL", Trouble.FAILURE, "its DNS servers fail (SERVFAIL)"),
        ("REFUSED", Trouble.FAILURE, "its DNS servers fail (REFUSED)"),
        ("YXDOMAIN", Trouble.UNUSABLE, "the answer of its DNS servers can't be used (YXDOMAIN)"),
        (SILENCE, Trouble.TIMEOUT, "its DNS servers do not answer"),
        (GARBAGE, Trouble.TIMEOUT, "its DNS servers do not answer"),
        ([f"CNAME {NAME}"], Trouble.UNUSABLE, "the answer of its DNS servers can't be used"),
        ([], None, ""),
    ],
)
async def test_name_without_an_address(said: str | list[str], trouble: Trouble | None, why: str):
    values, found, told = await looked_up({f"{NAME} A": said, "gone.example A": "NXDOMAIN"})
    assert (values, found) == ([], trouble)
    assert told.startswith(why)


async def test_alias_has_the_addresses_of_what_it_means():
    assert await looked_up({f"{NAME} A": ["CNAME real.example"], "real.example A": ["192.0.2.7"]}) == (
        ["192.0.2.7"],
        None,
        "",
    )


@pytest.mark.parametrize("control", ["SERVFAIL", SILENCE])
async def test_fault_that_all_names_have_is_not_the_names(control: str):
    _, trouble, why = await looked_up({f"{NAME} A": "SERVFAIL", f"{CONTROL} A": control})
    assert (trouble, why) == (Trouble.RESOLVER, "no DNS server answers here")


# CAA.


@pytest.mark.parametrize(
    ("zone", "at", "count"),
    [
        ({f"{NAME} CAA": ['0 issue "a.example"'], "example.com CAA": ['0 issue "b.example"']}, NAME, 1),
        ({"example.com CAA": ['0 issue "b.example"', '0 issue ";"']}, "example.com", 2),
        ({f"{NAME} CAA": ["CNAME real.example"], "real.example CAA": ['0 issue "c.example"']}, NAME, 1),
        ({f"{NAME} CAA": "NXDOMAIN", "com CAA": ['0 issue "d.example"']}, "com", 1),
        ({}, NAME, 0),
    ],
)
async def test_nearest_caa_records_apply(zone: dict[str, str | list[str]], at: str, count: int):
    with NameServer({**GOOD_CONTROL, **zone}) as server:
        found, records = await Names([LOOPBACK], server.port, control=CONTROL).nearest_caa(NAME)
    assert (found, len(records.values)) == (at, count)


async def test_caa_of_a_parent_that_fails_is_told_of_the_parent():
    with NameServer({**GOOD_CONTROL, "example.com CAA": "SERVFAIL"}) as server:
        found, records = await Names([LOOPBACK], server.port, control=CONTROL).nearest_caa(NAME)
    assert (found, records.trouble) == ("example.com", Trouble.FAILURE)


async def test_servers_that_know_only_their_own_network_can_not_tell_the_caa_records():
    """Such as those of a company's inside, for whom nothing of the internet exists."""
    inside = {f"{name} CAA": "NXDOMAIN" for name in (NAME, "example.com", "com")}
    with NameServer(inside) as server:
        _, records = await Names([LOOPBACK], server.port, control=CONTROL).nearest_caa(NAME)
    assert records.trouble is Trouble.RESOLVER
    assert records.why == "the DNS servers here do not know com, and so not the internet"


# KEEPER_RESOLVER.


async def test_server_may_be_named_or_given_by_an_address_of_either_kind():
    with NameServer({f"{NAME} A": ["192.0.2.7"]}) as server:
        names = await Names.at(Address("localhost", server.port), control=CONTROL)
        records = await names.ask(NAME, "A")
    assert [record.to_text() for record in records.values] == ["192.0.2.7"]
    resolver = Settings.parse({"KEEPER_RESOLVER": "[::1]:53"}).resolver
    assert resolver == Address("::1", 53)
    await Names.at(resolver, control=CONTROL)


@pytest.mark.parametrize("host", ["dns.invalid", "a..b"])
async def test_server_that_nobody_knows_is_a_setting_to_correct(host: str):
    with pytest.raises(UsageError, match=f"KEEPER_RESOLVER is '{host}:53', and {host} is not known here"):
        await Names.at(Address(host, 53), control=CONTROL)
