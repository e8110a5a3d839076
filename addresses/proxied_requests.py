"""aiohttp requests through a proxy: the connection, and its secret, which goes there alone."""

from typing import Any

import aiohttp

from addresses.proxy import Proxy


def socks_connector(proxy: Proxy, *, limit: int, keepalive_timeout: float) -> aiohttp.BaseConnector:
    """A connector that opens every connection through a SOCKS proxy."""
    from aiohttp_socks import ProxyConnector, ProxyType  # optional; the settings look for it

    return ProxyConnector(
        host=proxy.host,
        port=proxy.port,
        proxy_type=ProxyType.SOCKS5,
        username=proxy.username,
        password=proxy.password,
        rdns=proxy.scheme == "socks5h",
        limit=limit,
        keepalive_timeout=keepalive_timeout,
    )


def request_options(proxy: Proxy | None, url_scheme: str) -> dict[str, Any]:
    """The arguments of a request through an HTTP proxy; its secret goes to the proxy alone.

    A tunnel is asked for with the secret once; without a tunnel every request carries it.
    """
    if proxy is None or proxy.is_socks:
        return {}
    options: dict[str, Any] = {"proxy": proxy.url}
    if authorization := proxy_authorization(proxy):
        options["proxy_headers" if url_scheme == "https" else "headers"] = authorization
    return options


def proxy_authorization(proxy: Proxy | None) -> dict[str, str]:
    """The header with user and password of an HTTP proxy; empty without them."""
    if proxy is None or proxy.is_socks or (proxy.username is None and proxy.password is None):
        return {}
    secret = aiohttp.encode_basic_auth(proxy.username or "", proxy.password or "", encoding="utf-8")
    return {"Proxy-Authorization": secret}
