"""The way to an exchange: its address, the proxy before it, and the name of our public address."""

from typing import Final

import aiohttp

from addresses.proxy import SOCKS_PACKAGE, Proxy
from budgets.connection_errors import origin_of
from config import Settings
from market.markets import LIVE_ADDRESSES, Exchange

_PROXY_REFUSES: Final = 407


def base_url_of(settings: Settings, exchange: Exchange) -> str:
    return settings.base_url(exchange) or LIVE_ADDRESSES[exchange]


def proxy_of(settings: Settings, exchange: Exchange) -> Proxy | None:
    """The proxy through which the exchange is asked, if any."""
    return settings.proxy(exchange, base_url_of(settings, exchange))


def egress_id_of(settings: Settings, exchange: Exchange) -> str:
    """The name of the public address from which the exchange is asked.

    An exchange limits addresses, and behind a proxy ours is another one.
    """
    proxy = proxy_of(settings, exchange)
    return settings.egress_id if proxy is None else proxy.egress_id(settings.egress_id)


def pause_key(egress_id: str, exchange: Exchange) -> str:
    """The key of the exchange's pause for one public address."""
    return f"pause:{egress_id}:{exchange}"


def fault_of_proxy(error: BaseException) -> str | None:
    """What is wrong with the proxy, for everybody to read; None if it is not the proxy's fault."""
    error = origin_of(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers HTTP {error.status}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "cannot connect to the proxy"
    if type(error).__module__.partition(".")[0] in (SOCKS_PACKAGE, "python_socks"):
        if isinstance(error, OSError) or "Connection" in type(error).__name__:
            return "cannot connect to the proxy"
        return "the proxy opens no connection"
    return None


def refused_by_proxy(status: int, proxy: Proxy | None) -> str | None:
    """The cause if the proxy answered a request itself, which it tells by this status alone."""
    if proxy is None or status != _PROXY_REFUSES:
        return None
    return f"the proxy answers HTTP {status}"
