"""Finds what is secret in a setting: a token is secret whole, of an address only its passwords."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote, unquote_plus

_SECRET_OPTIONS = ("password", "ssl_password", "sslpassword")


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
    """The secrets that libraries read by themselves: of proxies, and PostgreSQL's PGPASSWORD."""
    for name, value in environment.items():
        if name.upper() == "PGPASSWORD" or (name.upper().endswith("_PROXY") and "@" in value):
            yield from secrets_in(value)
