"""Parses a URL strictly: userinfo, hosts, ports, path and options; messages never repeat a value.

Lenient parsers take part of a password that was not percent-encoded for a host, a port or an
option, and repeat it in their errors.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, unquote

_NOT_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_OPTION_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LONGEST_HOST: Final = 253  # RFC 1035, 2.3.4
IN_PASSWORDS: Final = "in a password, / is written %2F, # %23, ? %3F, @ %40, [ %5B and % %25"


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL, percent-decoded but for `path`, which is as it was written.

    `hosts`: names, IP addresses without brackets, or paths of sockets, each with its port.
    """

    scheme: str
    username: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    options: Mapping[str, str] = field(repr=False)

    @property
    def userinfo(self) -> str:
        """`user:password@` as a URL writes it; empty without both."""
        if self.username is None and self.password is None:
            return ""
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.username or '', safe='')}{password}@"

    @property
    def netloc(self) -> str:
        """Hosts and ports as a URL writes them."""
        return ",".join(written_host(host, port) for host, port in self.hosts)


def parse_url(text: str, *schemes: str, several_hosts: bool = False) -> Address:
    """The parts of a URL. Raises ValueError, whose message repeats nothing but option names.

    A password may hold an unencoded `@` or `:`, because the last `@` before the path ends it.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise ValueError("must be a URL with " + ", ".join(f"{s}://" for s in schemes))
    if not all("!" <= sign <= "~" for sign in text):
        raise ValueError(
            "has spaces, control or non-ASCII characters: hosts are written in ASCII (xn--...), "
            "anything else percent-encoded"
        )
    if "#" in rest:
        raise ValueError(f"has a '#', which ends a URL; {IN_PASSWORDS}")
    if _NOT_ENCODED.search(rest):
        raise ValueError(f"has a '%' without two hexadecimal digits after it; {IN_PASSWORDS}")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if "@" in tail:
        raise ValueError(f"has an '@' after its first '/' or '?'; {IN_PASSWORDS}")
    userinfo, at, hosts = authority.rpartition("@")
    username, colon, password = userinfo.partition(":")
    path, _, query = tail.partition("?")
    several = hosts.split(",") if several_hosts else [hosts]
    return Address(
        scheme.lower(),
        decoded(username) if at else None,
        decoded(password) if colon else None,
        tuple(_host_and_port(host) for host in several) if hosts else (),
        path,
        _options(query),
    )


def decoded(text: str) -> str:
    """Percent-decodes a part of a URL. Raises ValueError if the result is no text."""
    try:
        value = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has percent-encoded bytes that are not UTF-8") from None
    if "\0" in value:
        raise ValueError("has a percent-encoded NUL")
    return value


def only_host(address: Address) -> tuple[str, int | None]:
    """The host and port of an address that names one. Raises ValueError for none or a socket."""
    if not address.hosts:
        raise ValueError("names no host")
    host, port = address.hosts[0]
    if host.startswith("/"):
        raise ValueError("has a host that is not a host name")
    return host, port


def check_user(address: Address) -> None:
    """Raises ValueError for a user that cannot be sent as Basic authentication."""
    if ":" in (address.username or ""):
        raise ValueError("has a user with a ':' in it, which Basic authentication cannot carry")


def check_host(host: str) -> None:
    """Raises ValueError, without the value, unless it is a host name or an IP address."""
    if not host:
        raise ValueError(f"names no host; {IN_PASSWORDS}")
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"has a host that is not an IP address; {IN_PASSWORDS}") from None
        return
    name = host.removesuffix(".")
    if len(name) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError(f"has a host that is not a host name; {IN_PASSWORDS}")


def _host_and_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not closed or colon not in ("", ":") or ":" not in host:
            raise ValueError("has brackets that hold no IPv6 address")
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise ValueError(
                "has more than one ':' in its host and port: an IPv6 address needs brackets; "
                + IN_PASSWORDS
            )
    host = decoded(host)
    if not host.startswith("/"):
        check_host(host)
    return host, _port(port) if colon else None


def _port(text: str) -> int:
    if not text:
        raise ValueError("has an empty port")
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"has a port that is not a number from 1 to 65535; {IN_PASSWORDS}")
    return int(text)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if not equals or not _OPTION_NAME.fullmatch(name):
            raise ValueError("has options after its '?' that are not written name=value")
        if name in options:
            raise ValueError(f"has the option {name} twice")
        if not value:
            raise ValueError(f"has the option {name} without a value")
        options[name] = decoded(value.replace("+", " "))
    return options


@dataclass(frozen=True, slots=True)
class Accepts:
    """Which values an option takes, and in words what they must be."""

    accepts: Callable[[str], bool]
    wanted: str


def check_options(options: Mapping[str, str], known: Mapping[str, Accepts]) -> None:
    """Raises ValueError for the first option that is unknown or has a wrong value."""
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"has the unknown option {name}; known: {', '.join(known)}")
        if not known[name].accepts(value):
            raise ValueError(f"has a wrong value of the option {name}: {known[name].wanted}")


def matching(pattern: str, wanted: str) -> Accepts:
    """Accepts what matches `pattern` in any case."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return Accepts(lambda value: compiled.fullmatch(value) is not None, wanted)


def one_of(*values: str) -> Accepts:
    """Accepts these words only, written exactly so."""
    *first, last = values
    wanted = f"{', '.join(first)} or {last}" if first else last
    return Accepts(lambda value: value in values, f"it must be {wanted}")


ANY: Final = Accepts(bool, "it must not be empty")
COUNT: Final = matching(r"[0-9]{1,9}", "it must be a whole number")
FLAG: Final = matching(r"true|false|yes|no|[tfyn01]", "it must be true or false")
PATH: Final = Accepts(
    lambda value: os.access(value, os.R_OK), "it must name a file that can be read"
)


def written_host(host: str, port: int | None) -> str:
    """A host and its port as a URL writes them."""
    host = quote(host, safe="") if host.startswith("/") else host
    host = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"
