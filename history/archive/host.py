"""ArchiveHost: asks the archive over HTTP for listings, checksums and files, within bounds.

Nothing is known of the limits of data.binance.vision, so at most AT_ONCE requests are under way.
A GET is repeated after a broken connection, a late answer and HTTP 408, 425, 429 and 5xx.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
from yarl import URL

from addresses.proxied_requests import request_options
from addresses.proxy import Proxy
from budgets.connection_errors import public_cause, send_once
from budgets.proxies import fault_of_proxy, refused_by_proxy
from budgets.sessions import open_session
from history.archive.download_errors import FileRefused, HostAway, NotThere
from history.archive.download_folder import Written
from history.archive.listing import MOST_KEYS, ListedObject, parse_page
from timing.backoff import Backoff

AT_ONCE: Final = 4
MOST_BYTES: Final = 64 * 1024 * 1024  # of a file; a month of 1m candles has 2 MB
_TRIES: Final = 5
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 60.0  # also of what Retry-After asks for
_CONNECT_S: Final = 10.0
_IDLE_S: Final = 20.0  # without a byte
_ANSWER_S: Final = 60.0  # a listing or a checksum, to its last byte
_FILE_S: Final = 300.0  # a file: 64 MB at 2 Mbit/s
_MOST_LISTING: Final = 4_000_000  # 1000 keys of at most 1024 bytes, and what is told of them
_MOST_CHECKSUM: Final = 1024
_CHUNK: Final = 65_536
_AGAIN: Final = frozenset((408, 425, 429, 500, 502, 503, 504))

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Traffic:
    """What was asked of the archive: requests, those among them that were repetitions, and bytes
    of files."""

    requests: int = 0
    repeated: int = 0
    file_bytes: int = 0


class _Again(Exception):
    """A try failed in a way that may pass. `wait_s`: what the host asks for."""

    def __init__(self, cause: str, wait_s: float = 0) -> None:
        super().__init__(cause)
        self.wait_s = wait_s


class ArchiveHost:
    """The archive's addresses and a session to it; `async with` opens and closes it.

    `url`, `listing_url`: without a slash at their end. `proxy_of`: the proxy before an address.
    `idle_s`: how long an answer may rest.
    """

    def __init__(
        self, url: str, listing_url: str, proxy_of: Callable[[str], Proxy | None], *,
        first_pause_s: float = _FIRST_PAUSE_S, idle_s: float = _IDLE_S,
    ) -> None:  # fmt: skip
        self._url = url
        self._listing_url = listing_url
        self._proxies = {base: proxy_of(base) for base in (url, listing_url)}
        self._first_pause_s = first_pause_s
        self._idle_s = idle_s
        self._places = asyncio.Semaphore(AT_ONCE)
        self._sessions: dict[Proxy | None, aiohttp.ClientSession] = {}
        self.traffic = Traffic()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_FILE_S, connect=_CONNECT_S, sock_read=self._idle_s)
        for proxy in set(self._proxies.values()):
            self._sessions[proxy] = open_session(
                proxy, limit=AT_ONCE, keepalive_s=15, timeout=timeout, middleware=send_once,
                headers={"Accept-Encoding": "identity"},
            )  # fmt: skip
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def listed(self, prefix: str, first: str, last: str, most: int) -> list[ListedObject]:
        """The objects whose keys begin with `prefix` and go on with `first` to `last`, ascending.

        `most`: how many there may be; more are not asked for at once. Raises HostAway.
        """
        found: list[ListedObject] = []
        marker, end = prefix + first, prefix + last + "\x7f"
        while True:
            query = {
                "delimiter": "/", "prefix": prefix, "marker": marker,
                "max-keys": str(min(MOST_KEYS, max(1, most - len(found) + 1))),
            }  # fmt: skip
            page = parse_page(await self._small(self._listing_url, "/", _MOST_LISTING, query))
            inside = [item for item in page.objects if marker < item.key <= end]
            found += [item for item in inside if item.key.startswith(prefix)]
            if not page.more or not inside or len(inside) < len(page.objects):
                return found
            marker = inside[-1].key

    async def checksum(self, key: str) -> bytes:
        """The text of the checksum of `key`. Raises NotThere, HostAway."""
        return await self._small(self._url, f"/{key}.CHECKSUM", _MOST_CHECKSUM)

    async def download(self, item: ListedObject, path: Path) -> str:
        """Writes the object to `path`; returns its sha256. Raises NotThere, FileRefused for one
        that is larger than any file of the archive, HostAway, CannotKeep."""
        if item.size > MOST_BYTES:
            raise FileRefused(f"it has {item.size} bytes, more than {MOST_BYTES}")

        async def once() -> str:
            async with self._answer(self._url, f"/{item.key}", _FILE_S) as answer:
                return await self._written(answer, item.size, path)

        return await self._retried(once)

    async def _small(
        self, base: str, path: str, most: int, query: dict[str, str] | None = None
    ) -> bytes:
        async def once() -> bytes:
            async with self._answer(base, path, _ANSWER_S, query) as answer:
                body = b""
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > most:
                        raise HostAway(f"its answer has more than {most} bytes: set ARCHIVE_URL")
                return body

        return await self._retried(once)

    async def _written(self, answer: aiohttp.ClientResponse, size: int, path: Path) -> str:
        """Writes the answer to `path` as it comes, in the place of what an earlier try wrote."""
        digest, count = hashlib.sha256(), 0
        with Written(path) as file:
            async for chunk in answer.content.iter_chunked(_CHUNK):
                count += len(chunk)
                if count > MOST_BYTES:
                    raise FileRefused(f"it has more than {MOST_BYTES} bytes")
                digest.update(chunk)
                file.write(chunk)
        self.traffic.file_bytes += count
        if count < size and count < (answer.content_length or 0):
            raise _Again(f"{count} of {size} bytes came")
        return digest.hexdigest()

    async def _retried(self, once: Callable[[], Awaitable[Answer]]) -> Answer:
        backoff, cause = Backoff(self._first_pause_s, _LONGEST_PAUSE_S), ""
        for number in range(_TRIES):
            try:
                async with self._places:
                    self.traffic.requests += 1
                    self.traffic.repeated += number > 0
                    return await once()
            except _Again as again:
                cause, wait_s = str(again), again.wait_s
            if number + 1 < _TRIES:
                await asyncio.sleep(min(_LONGEST_PAUSE_S, max(backoff.pause_s(), wait_s)))
        raise HostAway(f"{cause}, at each of {_TRIES} tries")

    @asynccontextmanager
    async def _answer(
        self, base: str, path: str, deadline_s: float, query: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with status 200, within the deadline to its last byte. Raises _Again, NotThere
        and HostAway."""
        proxy = self._proxies[base]
        url = URL(base + path).with_query(query or {})
        try:
            async with (
                asyncio.timeout(deadline_s),
                self._sessions[proxy].get(
                    url, allow_redirects=False, **request_options(proxy, url.scheme)
                ) as answer,
            ):
                if at_proxy := refused_by_proxy(answer.status, proxy):
                    raise HostAway(at_proxy)
                _judge(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            at_proxy = fault_of_proxy(error)
            late = isinstance(error, TimeoutError)
            words = "no answer in time" if late else public_cause(error, url.host)
            raise _Again(at_proxy or words) from error


def _judge(answer: aiohttp.ClientResponse) -> None:
    status = answer.status
    if status == 404:
        raise NotThere("HTTP 404")
    if status in _AGAIN:
        wait = answer.headers.get("Retry-After", "")
        short = wait.isascii() and wait.isdecimal() and len(wait) < 5
        raise _Again(f"HTTP {status}", float(wait) if short else 0)
    if status != 200:
        raise HostAway(f"HTTP {status}: set ARCHIVE_URL, or a proxy if this place is blocked")
