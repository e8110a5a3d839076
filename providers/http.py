"""HTTP to providers: one request within its times, bounded in size, redirects and destinations.

Hosts come from the registry, and redirects from strangers: neither leads to a private address,
unless the operator's own row or PROVIDERS_BASE_URL says so.
"""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from addresses.proxied_requests import request_options, socks_connector
from addresses.proxy import Proxy
from budgets.connection_errors import public_cause, send_once
from budgets.informational import bound_informational
from config import Settings
from providers.errors import ErrorClass, ProviderError
from timing.clock import Clock

MOST_REDIRECTS: Final = 3
LARGEST_FEED: Final = 5 * 2**20  # bytes of RSS and Atom
LARGEST_BODY: Final = 16 * 2**20  # of all tickers of an exchange
_CHUNK: Final = 2**16
_CONNECTIONS: Final = 100
_PER_HOST: Final = 8
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SAME_METHOD: Final = (307, 308)
_HARMLESS: Final = ("accept", "user-agent", "content-type")  # what another host may be told


class Sendable(Protocol):
    """What is sent: providers.requests makes it. `shown`: without the key."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def shown(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Times:
    connect_s: float
    read_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes
    fetched_at_ms: int


@dataclass(slots=True)
class _Hop:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    seen: int = field(default=0)


class Http:
    """The sessions of a process; `async with` opens and closes them."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._base_url = settings.providers_base_url
        self._proxy_of = lru_cache(maxsize=1024)(settings.usual_proxy)
        self._clock = clock
        self._sessions: dict[tuple[Proxy | None, bool], aiohttp.ClientSession] = {}
        self._opened = False

    async def __aenter__(self) -> Self:
        self._opened = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened = False
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def exchange(
        self, request: Sendable, times: Times, *, private: bool, largest: int
    ) -> Response:
        """The answer, whatever its status. Raises ProviderError, transient, where none came.

        `private`: whether its host may have a private address and speak plain HTTP."""
        private = private or self._base_url is not None
        hop = _Hop(request.method, request.url, request.headers, request.body)
        try:
            async with asyncio.timeout(times.total_s):
                while True:
                    answer = await self._once(hop, times, private, largest)
                    if isinstance(answer, Response):
                        return answer
                    hop = answer
        except TimeoutError:
            raise _transient(f"no answer within {times.total_s:.3g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            host = urlsplit(hop.url).hostname
            raise _transient(public_cause(error, host)) from None
        except ValueError:  # of a redirect's address, mostly
            raise _transient("an address or a header that cannot be sent") from None

    async def _once(
        self, hop: _Hop, times: Times, private: bool, largest: int
    ) -> "Response | _Hop":
        if not private:
            _refuse_private(hop.url)
        proxy = self._proxy_of(_origin(hop.url))
        session = self._session(proxy, private)
        options: dict[str, Any] = request_options(proxy, urlsplit(hop.url).scheme)
        headers = {**hop.headers, **options.pop("headers", {})}
        async with session.request(
            hop.method,
            URL(hop.url, encoded=True),
            headers=headers,
            data=hop.body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=times.connect_s, sock_read=times.read_s
            ),
            **options,
        ) as answer:
            if answer.status in _REDIRECTS and "Location" in answer.headers:
                return self._redirected(hop, answer.status, answer.headers["Location"], private)
            body = await _body(answer, largest)
            return Response(answer.status, answer.headers, body, self._clock.wall_ms())

    def _redirected(self, hop: _Hop, status: int, location: str, private: bool) -> _Hop:
        if hop.seen == MOST_REDIRECTS:
            raise _transient(f"more than {MOST_REDIRECTS} redirects")
        if hop.method != "GET" and status not in _SAME_METHOD:
            raise _transient(f"HTTP {status} would turn a {hop.method} into a GET")
        url = urljoin(hop.url, location)
        parts, before = urlsplit(url), urlsplit(hop.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _transient("a redirect to something that is not a web address")
        same = (parts.scheme, parts.netloc) == (before.scheme, before.netloc)
        if self._base_url is not None and not same:
            rest = f"?{parts.query}" if parts.query else ""
            url = f"{self._base_url.rstrip('/')}/{parts.netloc}{parts.path or '/'}{rest}"
        elif parts.scheme == "http" and (before.scheme == "https" or not private):
            raise _transient("a redirect from https to http")
        if not same and hop.body is not None:
            raise _transient("a redirect to another host, which is not sent what was asked")
        headers = hop.headers
        if not same:  # keys in headers are for the first host alone
            headers = {name: text for name, text in headers.items() if name.lower() in _HARMLESS}
        return _Hop(hop.method, url, headers, hop.body, hop.seen + 1)

    def _session(self, proxy: Proxy | None, private: bool) -> aiohttp.ClientSession:
        if not self._opened:
            raise RuntimeError("Http is not open: use it inside `async with`")
        # An HTTP proxy may have a private address, and looks names up by itself.
        guarded = not private and proxy is None
        through = proxy if proxy is not None and proxy.is_socks else None
        session = self._sessions.get((through, guarded))
        if session is None:
            session = self._sessions[through, guarded] = _open(through, guarded)
        return session


class _PublicResolver(AbstractResolver):
    """Looks names up, and leaves out private addresses."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        public = [each for each in found if ip_address(each["host"]).is_global]
        if not public:
            raise OSError("its name leads to a private address")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def _open(proxy: Proxy | None, guarded: bool) -> aiohttp.ClientSession:
    connector: aiohttp.BaseConnector
    if proxy is not None:
        connector = socks_connector(proxy, limit=_CONNECTIONS, keepalive_timeout=30)
    else:
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            limit_per_host=_PER_HOST if guarded else 0,
            keepalive_timeout=30,
            resolver=_PublicResolver() if guarded else None,
        )
    bound_informational(connector)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(send_once,),
        trust_env=False,  # it would read ~/.netrc too; the settings know of proxies
        raise_for_status=False,
    )


async def _body(answer: aiohttp.ClientResponse, largest: int) -> bytes:
    """The body, decompressed. Raises ProviderError for one that is larger."""
    if answer.content.at_eof():
        return b""
    chunks = []
    size = 0
    async for chunk in answer.content.iter_chunked(_CHUNK):
        size += len(chunk)
        if size > largest:
            answer.close()
            raise ProviderError(
                ErrorClass.BAD_PAYLOAD, f"the answer has more than {largest // 2**20} MB"
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _refuse_private(url: str) -> None:
    """Raises ProviderError for an address that is written as a private IP; the resolver looks at
    names."""
    with contextlib.suppress(ValueError):
        if not ip_address(urlsplit(url).hostname or "").is_global:
            raise _transient("its address is private")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _transient(message: str) -> ProviderError:
    return ProviderError(ErrorClass.TRANSIENT, message)
