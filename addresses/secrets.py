"""Finds what is secret in a setting: a token is secret whole, of an address only its passwords."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, unquote_plus

_SECRET_OPTIONS = ("password", "ssl_password", "sslpassword")
_KEY: Final = re.compile(r".*_API_KEY(_\d)?", re.IGNORECASE)


def secrets_in(value: str) -> Iterator[str]:
    """The passwords of an address, with and without its user; any other value itself.

    It reads any address, also one that the checks refuse.
    """
    _, separator, rest = value.partition("://")
    if not separator:
        yield value
        return
    userinfo = rest.rpartition("@")[0]
    password = userinfo.partition(":")[2]
    if password:
        yield from (password, unquote(password), userinfo, unquote(userinfo))
    for option in rest.partition("?")[2].split("&"):
        name, _, text = option.partition("=")
        if name in _SECRET_OPTIONS and text:
            yield from (text, unquote_plus(text))


def secrets_of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """The secrets that are not settings: of proxies, and PostgreSQL's PGPASSWORD, which libraries
    read by themselves; keys of providers, such as ETHERSCAN_API_KEY."""
    for name, value in environment.items():
        if name.upper() == "PGPASSWORD" or (name.upper().endswith("_PROXY") and "@" in value):
            yield from secrets_in(value)
        elif _KEY.fullmatch(name) and value.strip():
            yield value.strip()
