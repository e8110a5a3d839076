"""HTTP addresses in settings: of exchanges, of Upstash, and the origins of CORS."""

from addresses.url import Address, parse_url

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_base_url(text: str, *, userinfo: bool) -> Address:
    """An http:// or https:// address, with a path or without. Raises ValueError, without it.

    `userinfo`: whether it may hold `user:password@`.
    """
    address = parse_url(text, "http", "https")
    if not address.hosts:
        raise ValueError("names no host")
    if address.hosts[0][0].startswith("/"):
        raise ValueError("has a host that is not a host name")
    if address.options or "?" in text:
        raise ValueError("has a '?': an address ends with its path")
    if address.userinfo and not userinfo:
        raise ValueError("has a user or password before its host, which is not used here")
    if ":" in (address.username or ""):
        raise ValueError("has a user with a ':' in it, which Basic authentication cannot carry")
    return address


def without_userinfo(text: str) -> str:
    """An address that `parse_base_url` accepts, as it is written but for `user:password@` and a
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
