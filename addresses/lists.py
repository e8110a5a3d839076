"""Comma-separated lists in settings: choices, hosts to serve, origins of CORS, networks."""

import re
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from addresses.web import check_origin

Network = IPv4Network | IPv6Network

_AGE: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_HOST: Final = re.compile(r"(\*?\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)


def split_list(text: str) -> list[str]:
    """The entries of a list, without blank ones."""
    return [word.strip() for word in text.split(",") if word.strip()]


def parse_choice(text: str, known: Collection[str]) -> list[str]:
    """Names in any case, in lower case: at least one, all of them known. Raises ValueError, also
    if a name is repeated: it may stand where another was meant."""
    names = [name.lower() for name in split_list(text)]
    if not names or not set(names) <= set(known) or len(set(names)) < len(names):
        raise ValueError(f"must be a comma-separated choice of {', '.join(known)}, each once")
    return names


def parse_age_limits(text: str, known: Collection[str]) -> tuple[tuple[str, int], ...]:
    """Known names, each once with an age in seconds: `4h=5h,global_fr=9h`; 0 for `off`. Raises
    ValueError."""
    found: dict[str, int] = {}
    for entry in split_list(text):
        name, _, age = (word.strip() for word in entry.lower().partition("="))
        matched = _AGE.fullmatch(age)
        if name not in known or name in found or (age != "off" and matched is None):
            raise ValueError(
                "must be documents with ages in s, m, h or d, or off, comma-separated and each"
                f" once, such as 4h=5h,global_fr=9h; the documents are {', '.join(known)}"
            )
        found[name] = int(matched[1]) * _UNITS_S[matched[2]] if matched else 0
    return tuple(found.items())


def parse_hosts(text: str) -> tuple[str, ...]:
    """`*`, names (`.example.org` and `*.example.org` too) and addresses, in lower case. Raises
    ValueError."""
    hosts = tuple(host.lower() for host in split_list(text))
    for host in hosts:
        if host != "*" and not _HOST.fullmatch(host) and not _is_ipv6(host):
            raise ValueError(
                "must be * or names and addresses without a port, comma-separated,"
                " such as example.org or *.example.org"
            )
    return hosts


def parse_origins(text: str) -> tuple[str, ...]:
    """`*`, or origins as browsers send them. Raises ValueError."""
    origins = tuple(split_list(text))
    for origin in origins:
        try:
            if origin != "*":
                check_origin(origin)
        except ValueError as error:
            raise ValueError(
                "must be * or origins such as https://example.org, comma-separated; "
                f"one of them {error}"
            ) from None
    return origins


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks; `none`: an empty list. Raises ValueError."""
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(ip_network(word) for word in split_list(text))
    except ValueError:
        raise ValueError("must be none or addresses and networks, comma-separated") from None


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).version == 6
    except ValueError:
        return False
