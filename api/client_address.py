"""The client's address behind trusted proxies, from X-Forwarded-For."""

from collections.abc import MutableMapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from addresses.lists import Network

# A provider gives each customer at least a /64, so a /64 counts as one client.
_ONE_IPV6_CLIENT: Final = 64
_LOCAL: Final = "local"  # over a Unix socket

Address = IPv4Address | IPv6Address


def client_of(scope: MutableMapping[str, Any], proxies: Sequence[Network]) -> str:
    """The client's address: the nearest one that is not a trusted proxy, IPv6 as its /64.

    Each proxy appends its peer to X-Forwarded-For. The list is read from the end; entries before
    the first untrusted address can be forged.
    """
    peer = scope.get("client")
    address = _address(peer[0]) if peer else None
    if peer and (address is None or not _is_in(address, proxies)):
        return _name(address) if address else str(peer[0])
    forwarded = [
        word.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for word in value.decode("latin-1").split(",")
    ]
    for word in reversed(forwarded):
        hop = _address(word)
        if hop is None:
            break
        address = hop
        if not _is_in(hop, proxies):
            break
    return _name(address) if address else _LOCAL


def _address(text: str) -> Address | None:
    """Parses an address, with or without a port: 192.0.2.1:1234, [2001:db8::1]:1234."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _name(address: Address) -> str:
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> _ONE_IPV6_CLIENT << _ONE_IPV6_CLIENT)}/64"
    return str(address)
