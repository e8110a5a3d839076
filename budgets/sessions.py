"""HTTP sessions to the exchanges: through their proxy, without cookies or settings of others."""

from collections.abc import Mapping
from typing import Final

import aiohttp

from addresses.proxied_requests import socks_connector
from addresses.proxy import Proxy
from budgets.informational import bound_informational

_BUFFER: Final = 2**16  # aiohttp's own


def open_session(
    proxy: Proxy | None,
    *,
    limit: int,
    keepalive_s: float,
    headers: Mapping[str, str],
    timeout: aiohttp.ClientTimeout,
    middleware: aiohttp.ClientMiddlewareType,
    read_bufsize: int = _BUFFER,
    local_address: str | None = None,
) -> aiohttp.ClientSession:
    """A session of at most `limit` connections, 0: without a limit; the caller closes it. Proxies
    other than SOCKS are named by each request. `local_address`: this host's address from which it
    connects; a SOCKS proxy is reached from any."""
    connector: aiohttp.BaseConnector
    if proxy is not None and proxy.is_socks:
        connector = socks_connector(proxy, limit=limit, keepalive_timeout=keepalive_s)
    else:
        local = None if local_address is None else (local_address, 0)
        connector = aiohttp.TCPConnector(
            limit=limit, keepalive_timeout=keepalive_s, local_addr=local
        )
    bound_informational(connector)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "perpcache", **headers},
        timeout=timeout,
        middlewares=(middleware,),
        read_bufsize=read_bufsize,
        trust_env=False,  # it would read ~/.netrc too; the settings know of proxies
    )
