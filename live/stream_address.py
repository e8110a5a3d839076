"""The addresses of an exchange's streams and of its REST: base URL, credentials and proxy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from addresses.proxy import Proxy
from addresses.url import Address
from addresses.web import parse_base_url, parse_stream_url
from config import LiveSettings


@dataclass(frozen=True, slots=True)
class ExchangeAddress:
    """Where an exchange is. `base_url` (ws, wss, http, https) holds no secret and no slash at its
    end; `headers` are sent to the exchange, never to the proxy. `local_address`: this host's, from
    which it is asked; None: any."""

    base_url: str
    proxy: Proxy | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    local_address: str | None = None

    @property
    def is_encrypted(self) -> bool:
        return self.base_url.startswith(("wss:", "https:"))


def stream_address(settings: LiveSettings, exchange: str, live_url: str) -> ExchangeAddress:
    """The address of the exchange's WebSockets: <EXCHANGE>_WS_URL, else `live_url`."""
    url = settings.stream_url(exchange)
    text = url.get_secret_value() if url is not None else live_url
    return _address(settings, exchange, parse_stream_url(text, userinfo=True))


def rest_address(settings: LiveSettings, exchange: str, live_url: str) -> ExchangeAddress:
    """The address of the exchange's REST: <EXCHANGE>_BASE_URL, else `live_url`."""
    address = parse_base_url(settings.base_url(exchange) or live_url, userinfo=False)
    credentials = settings.base_credentials(exchange)
    return _address(settings, exchange, address, credentials)


def _address(
    settings: LiveSettings, exchange: str, address: Address,
    credentials: tuple[str, str] | None = None,
) -> ExchangeAddress:  # fmt: skip
    base_url = f"{address.scheme}://{address.netloc}{address.path}".rstrip("/")
    if address.userinfo:
        credentials = address.username or "", address.password or ""
    headers, secrets = {}, []
    if credentials is not None:
        headers["Authorization"] = aiohttp.encode_basic_auth(*credentials, encoding="utf-8")
        secrets = [credentials[1], headers["Authorization"].rpartition(" ")[2]]
    proxy = settings.proxy(exchange, base_url)
    if proxy is not None and proxy.password:
        secrets.append(proxy.password)
    return ExchangeAddress(base_url, proxy, headers, tuple(secrets), settings.egress_address)
