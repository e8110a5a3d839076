"""The address of an exchange's streams: base URL, credentials and proxy, from the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from addresses.proxy import Proxy, is_spared, parse_proxy, parse_usual_proxy
from addresses.url import check_user, only_host, parse_url

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
_USUAL_PROXIES: Final = {"ws": "HTTP_PROXY", "wss": "HTTPS_PROXY"}


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where the WebSockets of one exchange are. `base_url` holds no secret and no slash at its
    end; `headers` are sent to the exchange, never to the proxy."""

    base_url: str
    proxy: Proxy | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.base_url.startswith("wss:")


def parse_stream_url(text: str, proxy: Proxy | None = None) -> StreamAddress:
    """A ws:// or wss:// address, with a path or without. Raises ValueError, without it."""
    address = parse_url(text, *_DEFAULT_PORTS)
    only_host(address)
    if address.options or "?" in text:
        raise ValueError("has a '?': an address ends with its path")
    check_user(address)
    headers, secrets = {}, []
    if address.userinfo:
        user, password = address.username or "", address.password or ""
        headers["Authorization"] = aiohttp.encode_basic_auth(user, password, encoding="utf-8")
        secrets = [password, headers["Authorization"].rpartition(" ")[2]]
    if proxy is not None and proxy.password:
        secrets.append(proxy.password)
    base_url = f"{address.scheme}://{address.netloc}{address.path}".rstrip("/")
    return StreamAddress(base_url, proxy, headers, tuple(secrets))


def stream_address(exchange: str, live_url: str, environment: Mapping[str, str]) -> StreamAddress:
    """The address that environment variables name, else `live_url`.

    `<EXCHANGE>_WS_URL` is the base URL and `<EXCHANGE>_PROXY` the proxy; without the latter
    HTTPS_PROXY (wss://) or HTTP_PROXY (ws://) is used, unless NO_PROXY spares the host. Raises
    ValueError, which names the variable and not its value.
    """
    prefix = exchange.upper()
    url_name, proxy_name = f"{prefix}_WS_URL", f"{prefix}_PROXY"
    url = environment.get(url_name, "").strip() or live_url
    try:
        address = parse_stream_url(url)
    except ValueError as error:
        raise ValueError(f"{url_name}: {error}") from None
    own = environment.get(proxy_name, "").strip()
    usual_name = _USUAL_PROXIES[address.base_url.partition(":")[0]]
    usual = _setting(environment, usual_name)
    try:
        if own:
            return parse_stream_url(url, parse_proxy(own))
        if not usual or _is_spared(address, _setting(environment, "NO_PROXY")):
            return address
        proxy_name = usual_name
        return parse_stream_url(url, parse_usual_proxy(usual))
    except ValueError as error:
        raise ValueError(f"{proxy_name}: {error}") from None


def _setting(environment: Mapping[str, str], name: str) -> str:
    """A setting that programs write in capitals or not."""
    return (environment.get(name) or environment.get(name.lower(), "")).strip()


def _is_spared(address: StreamAddress, no_proxy: str) -> bool:
    parsed = parse_url(address.base_url, *_DEFAULT_PORTS)
    host, port = only_host(parsed)
    return is_spared(host, _DEFAULT_PORTS[parsed.scheme] if port is None else port, no_proxy)
