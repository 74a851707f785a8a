"""Which hosts are this machine, or in a network of its own; by their looks, no name is looked up."""

from __future__ import annotations

import ipaddress
import re
import socket

__all__ = ["is_loopback", "is_private"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NUMBERS = re.compile(r"[0-9a-fx.]+")
_PRIVATE = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a provider's NAT (RFC 6598)
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/128",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, by its looks: no name is looked up."""
    name = host.lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether a host is this machine, or an address that is not reached over the internet (RFC 1918, 4193, 6598).

    By its looks: of names, only `localhost` is private. IPv6 addresses may be in brackets; IPv4 addresses that are
    mapped into IPv6, or written in the short and hexadecimal forms that a resolver takes, are seen through.
    """
    name = host.lower().rstrip(".").removeprefix("[").removesuffix("]")
    address = _address(name)
    if address is None:
        return is_loopback(name)
    return any(address in network for network in _PRIVATE)


def _address(name: str) -> _Address | None:
    try:
        address: _Address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        if not _NUMBERS.fullmatch(name):
            return None
        try:
            return ipaddress.IPv4Address(socket.inet_aton(name))  # 127.1, 0x7f000001, 2130706433
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
