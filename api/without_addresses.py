"""Errors of the stores as answers tell them: the part and the cause, without internal addresses."""

import re
from typing import Final

_ADDRESS: Final = "(address)"
_NAME: Final = r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"
# How redis, asyncpg, aiohttp, OpenSSL and PostgreSQL write addresses in their errors.
_ADDRESSES: Final = re.compile(
    "|".join(
        (
            r"\b[a-z][a-z0-9+.-]*://[^\s'\"]+",  # a URL
            r"\(['\"][^'\"]*['\"], ?\d+(?:, ?\d+)*\)",  # ('127.0.0.1', 5432)
            r"(?<![\w/])/(?:[\w.-]+/)+[\w.-]+",  # a socket's path
            r"\[?[0-9a-f:]*::[0-9a-f:.]*\]?(?::\d{1,5})?",  # IPv6, shortened
            r"\[?(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\]?(?::\d{1,5})?",
            r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b",
            rf"(?<=connecting to ){_NAME}(?::\d{{1,5}})?",
            rf"(?<=connect to host ){_NAME}(?::\d{{1,5}})?",
            rf"\b(?=[a-z_]){_NAME}:\d{{2,5}}\b",  # valkey:6379
            rf"(?<=[ \"'(@])(?=[a-z]){_NAME}\.(?:internal|local|lan|com|net|org|io|dev|cloud)\b",
            rf"(?<=host \"){_NAME}(?=\")|(?<=for '){_NAME}(?=')|(?<=at \"){_NAME}(?=\")",
        )
    ),
    re.IGNORECASE | re.ASCII,
)
_OF_STORES: Final = ("redis: ", "upstash: ", "the database ")
_LONGEST: Final = 2000


def without_addresses(error: object) -> str:
    """The error's text with `(address)` for hosts, ports, URLs and paths, which the log has."""
    return _ADDRESSES.sub(_ADDRESS, str(error)[:_LONGEST])


def of_a_store(error: str | None) -> str | None:
    """A job's error; without addresses if a store's error ended the job."""
    if error is not None and error.startswith(_OF_STORES):
        return without_addresses(error)
    return error
