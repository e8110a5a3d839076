"""PlainSender: sends the requests of a worker by aiohttp, through the proxies of the settings."""

import aiohttp

from addresses.proxied_requests import request_options, socks_connector
from addresses.proxy import Proxy
from budgets.connection_errors import public_cause
from budgets.informational import bound_informational
from budgets.proxies import fault_of_proxy
from config import Settings
from workers.http import MOST_REDIRECTS, Answer, Body, HttpFailed, Request


class PlainSender:
    """Sessions of one run, opened when first needed: one, and one for each SOCKS proxy."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._cookies: aiohttp.CookieJar | None = None

    async def send(self, request: Request) -> Answer:
        proxy = self._settings.usual_proxy(without_query(request.url))
        options = request_options(proxy, request.url.partition(":")[0])
        options["headers"] = {**options.get("headers", {}), **request.headers}
        try:
            async with self._session(proxy).request(
                request.method,
                request.url,
                data=request.body,
                max_redirects=MOST_REDIRECTS,
                **options,
            ) as answer:
                body = Body(request)
                async for piece in answer.content.iter_any():
                    if not body.add(piece):
                        answer.close()
                        break
                return Answer(answer.status, answer.headers, body.whole(), str(answer.url))
        except aiohttp.TooManyRedirects:
            raise HttpFailed(f"{request.host}: more than {MOST_REDIRECTS} redirects") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise  # of the request
            cause = fault_of_proxy(error) or public_cause(error, None, request.clean.clean)
            raise HttpFailed(f"{request.host}: {cause}") from None

    async def aclose(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        """HTTP proxies are named by each request, SOCKS proxies are the session's."""
        key = proxy.url if proxy is not None and proxy.is_socks else ""
        if self._cookies is None:
            self._cookies = aiohttp.CookieJar()  # not before: only the loop's thread can make it
        if key not in self._sessions:
            connector: aiohttp.BaseConnector
            if proxy is not None and key:
                connector = socks_connector(proxy, limit=0, keepalive_timeout=15)
            else:
                connector = aiohttp.TCPConnector(limit=0)
            bound_informational(connector)
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=self._cookies,
                headers={"User-Agent": "perpcache"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trust_env=False,  # it would read ~/.netrc too; the settings know of proxies
            )
        return self._sessions[key]


def without_query(url: str) -> str:
    """The address as the settings' proxies look at it: scheme and host, without user and path."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    return f"{scheme}://{authority.rpartition('@')[2]}"
