"""Proxies in settings: their URL, and the hosts that NO_PROXY asks without them."""

from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Final

from addresses.url import check_user, only_host, parse_url, written_host

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_LONGEST_OF_SOCKS: Final = 255  # RFC 1929
SOCKS_PACKAGE: Final = "aiohttp_socks"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy; `place`, `url` and `egress` hold no secret.

    `scheme`: http, https, socks5 (names are looked up here) or socks5h (by the proxy).
    """

    scheme: str
    host: str
    port: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def place(self) -> str:
        return written_host(self.host, self.port)

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"{self.scheme}://{self.place}"

    def egress_id(self, egress_id: str) -> str:
        """The name of the public address behind the proxy, for one who is at `egress_id`."""
        return f"{egress_id}.{sha256(self.place.lower().encode()).hexdigest()[:12]}"


def parse_proxy(text: str) -> Proxy:
    """A proxy's URL. Raises ValueError, whose message does not repeat it."""
    address = parse_url(text, *_DEFAULT_PORTS)
    host, port = only_host(address)
    if address.path not in ("", "/") or "?" in text:
        raise ValueError("has a path: a proxy's address ends with its host or port")
    if not address.scheme.startswith("socks"):
        check_user(address)
    else:
        for secret in (address.username or "", address.password or ""):
            if not secret.isascii() or len(secret) > _LONGEST_OF_SOCKS:
                raise ValueError(
                    f"has a user or password that SOCKS cannot carry: at most {_LONGEST_OF_SOCKS}"
                    " ASCII characters"
                )
        if find_spec(SOCKS_PACKAGE) is None:
            raise ValueError(
                f"names a {address.scheme} proxy, which needs the package aiohttp-socks:"
                " .venv/bin/pip install -r requirements-socks.txt"
            )
    return Proxy(
        address.scheme,
        host,
        _DEFAULT_PORTS[address.scheme] if port is None else port,
        address.username,
        address.password,
    )


def parse_usual_proxy(text: str) -> Proxy:
    """As `parse_proxy`; HTTP_PROXY and HTTPS_PROXY are often written without a scheme."""
    return parse_proxy(text if "://" in text else f"http://{text}")


def is_spared(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host is asked without the proxy of HTTP_PROXY or HTTPS_PROXY.

    `no_proxy`: separated by commas or spaces: `*`; names, which stand for their subdomains too;
    addresses; networks (10.0.0.0/8); each but a network with a port or without. This machine's own
    addresses are spared always.
    """
    host = host.lower().strip("[]").rstrip(".")
    if host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        return True
    return any(_matches(host, port, entry) for entry in no_proxy.lower().replace(",", " ").split())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            return False
    name, wanted = _name_and_port(entry)
    if wanted is not None and wanted != port:
        return False
    try:
        return ip_address(host) == ip_address(name)
    except ValueError:
        pass
    name = name.removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and (host == name or host.endswith("." + name))


def _name_and_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif entry.count(":") > 1:  # an IPv6 address
        return entry, None
    else:
        name, colon, port = entry.partition(":")
    if not colon:
        return name, None
    return name, int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
