"""AsyncClient: asks a service of Perpcache, for asyncio."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, cast

import httpx2

from perpcache_client import transport
from perpcache_client.asking import (
    Asker,
    Broken,
    Give,
    Leave,
    Listen,
    NextEvent,
    Pause,
    Read,
    Reply,
    Send,
    Step,
    Steps,
)
from perpcache_client.errors import PerpcacheError
from perpcache_client.overviews import MarketOfAsset, Overview
from perpcache_client.questions import HistoryKind, Json, Names, Questions, Time, pairs
from perpcache_client.records import Job, Market
from perpcache_client.table import Table
from perpcache_client.watching import GLOBAL_FR, Watcher

T = TypeVar("T")
_SMALL_BYTES: Final = 64 * 1024


class AsyncClient:
    """One service of Perpcache. Close it, or use it in `async with`; tasks may share it.

    `url` is the service's address, `token` its READ_TOKEN or API_TOKEN where it wants one.
    `timeout`: the seconds that a call may take, with everything that is tried again. `verify`: as
    httpx2 has it, an SSLContext for certificates of your own.

    All calls raise errors of one tree, PerpcacheError (errors.py). Times are given as UTC
    milliseconds, ISO 8601 or datetimes (without a zone: UTC).
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        timeout: float = 60.0,
        *,
        verify: Any = True,
    ) -> None:
        self.url = str(transport.address(url))
        self._http = httpx2.AsyncClient(
            base_url=self.url, headers=transport.headers(token), verify=verify
        )
        self._questions = Questions(Asker(timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def table(
        self,
        name: str,
        *,
        symbol: Names | None = None,
        exchange: Names | None = None,
        closed: bool | None = None,
        limit: int | None = None,
        since: Time | None = None,
        as_of: Time | None = None,
    ) -> Table:
        """The document of a timeframe, such as "4h": its newest version, or as it was `as_of` a
        time. `closed=True` leaves forming candles out, `limit` is for each market."""
        params = pairs(
            symbol=symbol, exchange=exchange, closed=closed, limit=limit, since=since, as_of=as_of
        )
        return await self._run(self._questions.whole_table(name, params))

    def watch(
        self,
        name: str,
        *,
        symbol: Names | None = None,
        exchange: Names | None = None,
        closed: bool | None = None,
        limit: int | None = None,
        since: Time | None = None,
    ) -> AsyncGenerator[Table, None]:
        """The present version, and then each newer one as it is published, for good: never one
        twice, never an older one. It goes on by itself after any break of the service."""
        params = pairs(symbol=symbol, exchange=exchange, closed=closed, limit=limit, since=since)
        steps = Watcher(self._questions).watch(name, params)
        return cast("AsyncGenerator[Table, None]", self._iterate(steps))

    async def funding(self, *, symbol: Names | None = None, exchange: Names | None = None) -> Table:
        """The settlements of all markets, the document global_fr."""
        return await self.table(GLOBAL_FR, symbol=symbol, exchange=exchange)

    async def history(
        self,
        symbol: Names,
        timeframe: str | None = None,
        *,
        kind: HistoryKind = "candles",
        exchange: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        as_of: Time | None = None,
        columns: Names | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        revisions: Literal["newest", "all"] | None = None,
        unrecorded: Literal["omit", "closed"] | None = None,
    ) -> Table:
        """What was recorded of one market or several, from `start` to before `end`. With `limit`
        the earliest rows; `cursor` is then the `next_cursor` of the page before."""
        return await self._run(
            self._questions.history(
                *(kind, symbol, exchange),
                timeframe=timeframe,
                from_=start,
                to=end,
                as_of=as_of,
                columns=columns,
                limit=limit,
                cursor=cursor,
                revisions=revisions,
                unrecorded=unrecorded,
            )
        )

    async def markets(
        self,
        *,
        exchange: str | None = None,
        timeframe: str | None = None,
        as_of: Time | None = None,
    ) -> list[Market]:
        """The markets that are collected, with metadata of `timeframe` (4h); or those that the
        exchanges listed `as_of` a time."""
        return await self._run(self._questions.markets(exchange, timeframe, as_of))

    async def overview(self, assets: Names | None = None, *, as_of: Time | None = None) -> Overview:
        """All assets over exchanges, or some: open interest, its changes, funding, turnover and
        prices, summed and of each market, all of one instant; the newest, or as they were known
        `as_of` a time."""
        return await self._run(self._questions.overview(assets, as_of))

    def watch_overview(self, assets: Names | None = None) -> AsyncGenerator[Overview, None]:
        """The present overview, and then each newer one, as `watch` does it for documents."""
        steps = Watcher(self._questions).watch_overview(assets)
        return cast("AsyncGenerator[Overview, None]", self._iterate(steps))

    async def market(self, asset: str, *, as_of: Time | None = None) -> MarketOfAsset:
        """One asset of the overview, by its name, a base or a symbol: "PEPE", "1000PEPEUSDT"; the
        newest, or as it was known `as_of` a time. Raises NotFound with near names."""
        return await self._run(self._questions.market(asset, as_of))

    async def collect(
        self, timeframe: str = "all", *, wait: bool = True, timeout: float = 900.0
    ) -> Job:
        """Collects a timeframe, or all, now; with `wait`, until that is done. Raises JobFailed, and
        Timeout if it takes longer than `timeout`; it then goes on."""
        return await self._run(self._questions.collect(timeframe, wait=wait, timeout_s=timeout))

    async def jobs(self) -> list[Job]:
        """The jobs of the last days, the newest request first."""
        return await self._run(self._questions.jobs())

    async def job(self, job_id: str) -> Job:
        """One job, such as "collect:4h"."""
        return await self._run(self._questions.job(job_id))

    async def prices(
        self, assets: Names | None = None, *, quote: str | None = None, kind: str | None = None
    ) -> Json:
        """What assets cost: `prices`, `missing` and `tried`, as GET /api/prices tells them."""
        return await self._run(
            self._questions.json("/api/prices", pairs(assets=assets, quote=quote, kind=kind))
        )

    async def news(
        self,
        *,
        assets: Names | None = None,
        source: Names | None = None,
        since: Time | None = None,
        limit: int | None = None,
    ) -> Json:
        """The newest stories: `news` and `tried`."""
        params = pairs(assets=assets, source=source, since=since, limit=limit)
        return await self._run(self._questions.json("/api/news", params))

    async def sentiment(self, *, assets: Names | None = None, metric: str | None = None) -> Json:
        """How afraid or greedy the market is: `sentiment`, `missing` and `tried`."""
        return await self._run(
            self._questions.json("/api/sentiment", pairs(assets=assets, metric=metric))
        )

    async def gas(self, chain: str) -> Json:
        """What a transaction costs on a chain, such as "ethereum"."""
        return await self._run(self._questions.one("/api/gas", chain))

    async def status(self) -> Json:
        """All that is known of documents, exchanges, streams, jobs, stores and processes."""
        return await self._run(self._questions.json("/status"))

    async def _run(self, steps: Steps[T]) -> T:
        work = _Work(self._http)
        while True:
            try:
                step = work.resume(steps)
            except StopIteration as done:
                answer: T = done.value
                return answer
            await work.do(step)

    async def _iterate(self, steps: Steps[None]) -> AsyncGenerator[Table | Overview, None]:
        async with contextlib.aclosing(_Work(self._http)) as work:
            while True:
                step: Step = work.resume(steps)
                if isinstance(step, Give):
                    yield step.told
                else:
                    await work.do(step)


class _Work:
    """Does the steps of one question, and keeps the result of the last one for it."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self._stream = AsyncExitStack()
        self._events: AsyncIterator[httpx2.ServerSentEvent] | None = None
        self._outcome: Any = None
        self._failure: Exception | None = None

    async def aclose(self) -> None:
        await self._stream.aclose()

    def resume(self, steps: Steps[Any]) -> Step:
        """The next step; raises StopIteration with the answer."""
        outcome, failure = self._outcome, self._failure
        self._outcome = self._failure = None
        return steps.send(outcome) if failure is None else steps.throw(failure)

    async def do(self, step: Step) -> None:
        try:
            self._outcome = await self._done(step)
        except transport.BROKEN as error:
            self._failure = transport.broken(error)
        except (Broken, PerpcacheError) as error:
            self._failure = error

    async def _done(self, step: Step) -> Any:
        match step:
            case Send():
                return await self._send(step)
            case Read():
                return await _beside(step)
            case Pause():
                return await asyncio.sleep(step.seconds)
            case Listen():
                await self._stream.aclose()
                return await self._listen(step)
            case NextEvent():
                event = None if self._events is None else await anext(self._events, None)
                return transport.event_of(event)
            case Leave():
                return await self._stream.aclose()
            case Give():
                raise TypeError("only what is watched is given")

    async def _send(self, send: Send) -> Reply:
        parts: list[bytes] = []
        async with self._http.stream(**transport.arguments(send, time.monotonic())) as response:
            async for part in response.aiter_bytes():
                parts.append(part)
                transport.check_time(send, time.monotonic())
        return transport.reply_of(response, b"".join(parts))

    async def _listen(self, listen: Listen) -> Reply:
        opened = self._http.stream(**transport.listening(listen))
        response = await self._stream.enter_async_context(opened)
        self._events = aiter(httpx2.EventSource(response))
        return transport.reply_of(response)


async def _beside(step: Read) -> Any:
    """Large answers are read in a thread."""
    if len(step.reply.body) < _SMALL_BYTES:
        return step.read(step.reply)
    return await asyncio.to_thread(step.read, step.reply)
