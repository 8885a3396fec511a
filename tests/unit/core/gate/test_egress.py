from ipaddress import ip_address

import pytest
from callgate.core.gate.egress import Egress, is_public

PUBLIC = ["8.8.8.8", "93.184.216.34", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:80e::200e", "64:ff9b::8.8.8.8"]
NOT_PUBLIC = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3",  # this machine
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "255.255.255.255",  # its private networks
    "100.100.100.200", "198.18.0.1", "192.0.0.192", "192.0.2.1", "240.0.0.1", "192.88.99.1",  # reserved
    "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254",  # clouds' metadata services
    "224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1",  # multicast
    # IPv6's special ranges
    "::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fec0::1", "2001:db8::1", "3fff::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1",  # IPv4 embedded in IPv6
    "2002:7f00:1::", "2002:808:808::1", "2001:0:7f00:1::1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "5f00::1", "4000::1",
]  # fmt: skip
SPELLINGS = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", " 127.0.0.1", "", "localhost", "[::1]"]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_host_of_the_internet_is_public(address):
    assert is_public(ip_address(address))
    assert Egress().permits("api.example.com", 443, address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_other_address_is(address):
    assert not is_public(ip_address(address))
    assert not Egress().permits("api.example.com", 443, address)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_address_that_is_written_otherwise_is_none(spelling):
    assert not Egress.parse("127.0.0.0/8,localhost:443").permits("localhost", 443, spelling)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "100.64.0.1", "::1", "fd12::7"])
def test_a_host_that_is_listed_may_be_a_neighbour_under_its_name_and_port(address):
    egress = Egress.parse(" API.internal.:8443 ")
    assert egress.permits("api.internal", 8443, address)
    assert egress.permits("Api.Internal.", 8443, address)
    assert not egress.permits("api.internal", 443, address)
    assert not egress.permits("other.internal", 8443, address)


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "::ffff:127.0.0.1"])
def test_a_host_that_is_listed_is_no_way_to_what_is_no_neighbour(address):
    assert not Egress.parse("api.internal:443").permits("api.internal", 443, address)


def test_a_network_that_is_listed_may_be_asked_under_any_name():
    egress = Egress.parse("10.1.0.0/16, fd00:1::/64,192.168.7.7")
    for address in ("10.1.255.1", "fd00:1::9", "192.168.7.7"):
        assert egress.permits("api.internal", 443, address)
    assert not egress.permits("api.internal", 443, "10.2.0.1")


def test_an_address_may_be_listed_with_its_port():
    assert Egress.parse("[::1]:8443").permits("::1", 8443, "::1")
    assert Egress.parse("127.0.0.1:8443").permits("127.0.0.1", 8443, "127.0.0.1")


@pytest.mark.parametrize("text", ["api.internal", "10.1.0.0/40", "10.1.2.3/8", "https://api.internal:443", "a:b"])
def test_what_is_neither_host_nor_network_is_refused_with_what_to_write(text):
    with pytest.raises(ValueError, match="neither a host with its port"):
        Egress.parse(text)


@pytest.mark.parametrize("text", ["", "api.internal:443", "[::1]:8443,a:1,10.1.0.0/16,fd00::/8"])
def test_what_may_be_asked_is_shown_as_it_is_set(text):
    assert str(Egress.parse(text)) == text
    assert Egress.parse(str(Egress.parse(text))) == Egress.parse(text)
