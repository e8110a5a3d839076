"""The hosts that requests may name: ALLOWED_HOSTS, or those that no web page's name can imitate.

A page whose name is made to resolve to this machine (DNS rebinding) could read and ask as its
visitor does. Browsers then send the page's name as Host, so other names are refused.
"""

import re
import socket
import string
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from texts.foreign import cut

ANY: Final = "*"
# Names that the public DNS cannot have (RFC 6761, RFC 6762, RFC 8375, ICANN's .internal).
_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa")
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_PORT: Final = re.compile(r":[0-9]{0,5}$", re.ASCII)
_AUTHORITY: Final = re.compile(rb"[a-z][a-z0-9+.-]*://([^/?#]*)", re.IGNORECASE)
_SHOWN: Final = frozenset(string.ascii_letters + string.digits + ".-_:[]@/ ")
_LONGEST_HOST: Final = 300
_LONGEST_SHOWN: Final = 100
_MOST_REMEMBERED: Final = 256

Address = IPv4Address | IPv6Address


class Hosts:
    """The hosts of ALLOWED_HOSTS: names, addresses, `.example.org` with its subdomains,
    `*.example.org` for these alone, `*` for all.

    Loopback names and the address that the connection came to are always allowed: they cannot be
    imitated, and health checks use them. Without a list, so are all addresses, this machine's
    names, names without a dot (of containers and services) and names outside the public DNS.
    """

    def __init__(self, allowed: Sequence[str] = (), own_name: str = "") -> None:
        """`own_name`: the name that we listen at, if HOST is one."""
        self._any = ANY in allowed
        self._is_default = not allowed
        self._suffixes = tuple(host.removeprefix("*") for host in allowed if host.startswith("*."))
        parents = [host for host in allowed if host.startswith(".")]
        self._suffixes += tuple(parents)
        self._exact: set[str | Address] = {parent[1:] for parent in parents}
        self._exact |= {_address(host) or host for host in allowed}
        if self._is_default:
            self._add_own(own_name, socket.gethostname())
        # Hosts that were allowed, with the address they were asked at.
        self._remembered: set[tuple[bytes, str | None]] = set()

    def look_up_own_name(self) -> None:
        """Adds the full name of this machine once the resolver has told it, which may take
        seconds; not with ALLOWED_HOSTS."""
        if self._is_default:
            look_up = threading.Thread(target=lambda: self._add_own(socket.getfqdn()), daemon=True)
            look_up.start()

    def _add_own(self, *names: str) -> None:
        self._exact |= {name.lower().removesuffix(".") for name in names if name}

    def refuses(self, host: bytes, at: str | None) -> str | None:
        """Why a request for `host` is refused; None if it is not. `at`: our address that it
        came to, None over a Unix socket."""
        if self._any or (host, at) in self._remembered:
            return None
        if self._allows(host, at):
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered.add((host, at))
            return None
        return (
            f"the host {quoted(host)} is not served here: add its name to ALLOWED_HOSTS to serve it"
        )

    def _allows(self, host: bytes, at: str | None) -> bool:
        name = _name(host)
        if name is None:
            return False
        address = _address(name)
        if address is not None:
            is_ours = address.is_loopback or (at is not None and address == _address(at))
            return is_ours or self._is_default or address in self._exact
        if name == "localhost" or name.endswith(".localhost") or name in self._exact:
            return True
        if self._is_default:
            return "." not in name or name.endswith(_PRIVATE_SUFFIXES)
        return name.endswith(self._suffixes)


def authority(target: bytes) -> bytes | None:
    """The host of a target in absolute form (`GET http://host/path`); None for other forms."""
    found = _AUTHORITY.match(target)
    return found and found[1]


def quoted(host: bytes) -> str:
    """Input for messages: cut, in quotes, with ? for what no host has."""
    shown = "".join(chr(c) if chr(c) in _SHOWN else "?" for c in host[:_LONGEST_HOST])
    return f"'{cut(shown, _LONGEST_SHOWN)}'"


def _name(host: bytes) -> str | None:
    """The name or address in a Host header, in lower case without port; None if malformed."""
    if len(host) > _LONGEST_HOST:
        return None
    try:
        text = host.decode("ascii").strip().lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        inner, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _PORT.fullmatch(port)):
            return None
        return inner if isinstance(_address(inner), IPv6Address) else None
    text = _PORT.sub("", text)
    return text.removesuffix(".") if _NAME.fullmatch(text) else None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
