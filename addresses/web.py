"""Web addresses in settings: of exchanges and their streams, of Upstash, the origins of CORS."""

from typing import Final

from addresses.url import Address, check_user, only_host, parse_url

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def parse_base_url(text: str, *, userinfo: bool) -> Address:
    """An http:// or https:// address, with a path or without. Raises ValueError, without it.

    `userinfo`: whether it may hold `user:password@`.
    """
    return _parse(text, "http", "https", userinfo=userinfo)


def parse_stream_url(text: str, *, userinfo: bool) -> Address:
    """As `parse_base_url`, of a WebSocket: a ws:// or wss:// address."""
    return _parse(text, "ws", "wss", userinfo=userinfo)


def _parse(text: str, *schemes: str, userinfo: bool) -> Address:
    address = parse_url(text, *schemes)
    only_host(address)
    if address.options or "?" in text:
        raise ValueError("has a '?': an address ends with its path")
    if address.userinfo and not userinfo:
        raise ValueError("has a user or password before its host, which is not used here")
    check_user(address)
    return address


def port_of(address: Address) -> int:
    """The port of an address that was parsed here, its scheme's by default."""
    port = address.hosts[0][1]
    return _DEFAULT_PORTS[address.scheme] if port is None else port


def without_userinfo(text: str) -> str:
    """An address that is accepted here, as it is written but for `user:password@` and a
    slash at its end."""
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}".rstrip("/")


def check_origin(origin: str) -> None:
    """Raises ValueError, without it, unless a browser sends the origin in this form."""
    address = parse_base_url(origin, userinfo=False)
    if address.path:
        raise ValueError("has a path: an origin ends with its host or port")
    if origin != origin.lower():
        raise ValueError("has capital letters, which no browser sends in an origin")
    if address.hosts[0][1] == _DEFAULT_PORTS[address.scheme]:
        raise ValueError("has the port that its scheme stands for, which no browser sends")
