"""Hides network addresses in errors that strangers read: they may be inside our network."""

import re
from typing import Final

_HIDDEN: Final = "(address)"
_LONGEST: Final = 2000  # characters that the patterns see
_NAME: Final = r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"
_IPV4: Final = r"\d{1,3}(?:\.\d{1,3}){3}"
_GROUPS: Final = r"[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}"
# Eight groups, or fewer around a `::`, with a port or without; neither a time nor a cast (x::text).
_IPS: Final = (
    rf"(?<![\w:])\[?(?:{_GROUPS})?::(?:(?:{_GROUPS}:)?{_IPV4}|{_GROUPS})?(?![\w:])\]?(?::\d{{1,5}})?",
    r"(?<![\w:])\[?(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])\]?(?::\d{1,5})?",
    rf"\b{_IPV4}(?::\d{{1,5}})?\b",
)
# How redis, asyncpg, aiohttp, OpenSSL and PostgreSQL write addresses in their errors.
_IN_ERRORS: Final = (
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"]+",  # a URL
    r"\(['\"][^'\"]*['\"], ?\d+(?:, ?\d+)*\)",  # ('127.0.0.1', 5432)
    r"(?<![\w/])/(?:[\w.-]+/)+[\w.-]+",  # a socket's path
    *_IPS,
    rf"(?<=connecting to ){_NAME}(?::\d{{1,5}})?",
    rf"(?<=connect to host ){_NAME}(?::\d{{1,5}})?",
    rf"\b(?=[a-z_]){_NAME}:\d{{2,5}}\b",  # valkey:6379
    rf"(?<=[ \"'(@])(?=[a-z]){_NAME}\.(?:internal|local|lan|com|net|org|io|dev|cloud)\b",
    rf"(?<=host \"){_NAME}(?=\")|(?<=for '){_NAME}(?=')|(?<=at \"){_NAME}(?=\")",
)
_FLAGS: Final = re.IGNORECASE | re.ASCII
_IP: Final = re.compile("|".join(_IPS), _FLAGS)
_ANY: Final = re.compile("|".join(_IN_ERRORS), _FLAGS)


def without_addresses(error: object) -> str:
    """A store's error with `(address)` for hosts, ports, URLs and paths, which the log has."""
    return _ANY.sub(_HIDDEN, str(error)[:_LONGEST])


def without_ips(text: str) -> str:
    """The text with `(address)` for IP addresses; for texts of exchanges, whose names may stay."""
    return _IP.sub(_HIDDEN, text[:_LONGEST])


def without_host(text: str, host: str) -> str:
    """The text with `(address)` for this host, with a port or without."""
    return re.sub(rf"{re.escape(host)}(:\d+)?", _HIDDEN, text, flags=re.IGNORECASE)
