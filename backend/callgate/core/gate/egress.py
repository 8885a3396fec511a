"""Where a tool's request may go: to public addresses, and to what the owner lists. Pure.

The host of a tool is written in the owner's file, but its DNS name may be controlled by somebody else. If it resolved
to this machine, its network or the cloud's metadata service, whoever controls it, or a caller who talks the model into
it, could send requests there (server-side request forgery).

Sources: IANA's registries of special-purpose addresses (RFC 6890), RFC 4291 (IPv6), RFC 6052 (NAT64). `ipaddress` knows
most of the first, but what it counts as global differs between Python versions, so the rest is listed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NO_HOSTS_V4: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; a cloud's metadata service
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # Azure's own service for its virtual machines
)
_UNICAST_V6: Final = IPv6Network("2000::/3")  # all that was ever allocated; mapped and site-local addresses lie outside
_NO_HOSTS_V6: Final = (
    IPv6Network("2001::/23"),  # protocol assignments; Teredo, which embeds an IPv4 address
    IPv6Network("2002::/16"),  # 6to4, which embeds one too
    IPv6Network("3fff::/20"),  # documentation
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # how an IPv6-only network reaches IPv4 hosts
_NEIGHBOURS: Final = tuple(
    ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
)
_HOST_AND_PORT: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+)):([0-9]{1,5})")


def is_public(address: Address) -> bool:
    """Whether this is the address of a host on the Internet."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NO_HOSTS_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _NO_HOSTS_V6)


@dataclass(frozen=True, slots=True)
class Egress:
    """What may be requested besides public addresses.

    ``hosts``: names with ports, which may resolve to this machine or its network. ``networks``: addresses that may be
    requested under any name.
    """

    hosts: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Egress:
        """Read a comma-separated list of HOST:PORT and of networks (CIDR). Raises `ValueError`."""
        hosts, networks = set(), []
        for part in (part.strip().lower() for part in text.split(",")):
            if named := _HOST_AND_PORT.fullmatch(part):
                hosts.add(((named[1] or named[2]).rstrip("."), int(named[3])))
            elif part:
                networks.append(_network(part))
        return cls(frozenset(hosts), tuple(networks))

    def __str__(self) -> str:
        """The list, in the form that `parse` reads."""
        hosts = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sorted(self.hosts))
        return ",".join((*hosts, *map(str, self.networks)))

    def permits(self, host: str, port: int, address: str) -> bool:
        """Whether a request to this host and port may be sent to ``address``, which is numeric."""
        try:
            found = ip_address(address)
        except ValueError:  # 127.1, 0177.0.0.1 and the like, which are only written to slip through
            return False
        if is_public(found) or any(found in network for network in self.networks):
            return True
        is_listed = (host.lower().rstrip("."), port) in self.hosts
        return is_listed and any(found in network for network in _NEIGHBOURS)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as exc:
        raise ValueError(
            f"{text!r} is neither a host with its port, as in api.internal:443, nor a network, as in 10.1.0.0/16"
        ) from exc
