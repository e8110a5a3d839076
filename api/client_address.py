"""Who a client is, behind whatever proxies: the address that stands for it."""

from collections.abc import MutableMapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from config import Network

# A provider gives a customer at least a /64: addresses within it are one client's.
_ONE_IPV6_CLIENT: Final = 64
_NEARBY: Final = "local"  # over a unix socket

Address = IPv4Address | IPv6Address


def client_of(scope: MutableMapping[str, Any], proxies: Sequence[Network]) -> str:
    """The address that stands for the client: the nearest one that is none of our proxies'.

    A proxy appends who asked it to X-Forwarded-For, so the list is read from its end, and what
    lies beyond the first stranger is only what that stranger says.
    """
    peer = scope.get("client")
    address = _address(peer[0]) if peer else None
    if peer and (address is None or not _is_any(address, proxies)):
        return _name(address) if address else str(peer[0])
    forwarded = [
        word.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for word in value.decode("latin-1").split(",")
    ]
    for word in reversed(forwarded):
        found = _address(word)
        if found is None:
            break
        address = found
        if not _is_any(found, proxies):
            break
    return _name(address) if address else _NEARBY


def _address(text: str) -> Address | None:
    """Reads an address; some proxies write 192.0.2.1:1234 or [2001:db8::1]:1234."""
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


def _is_any(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _name(address: Address) -> str:
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> _ONE_IPV6_CLIENT << _ONE_IPV6_CLIENT)}/64"
    return str(address)
