"""Client: asks a service of Perpcache, and waits for the answers."""

import contextlib
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

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


class Client:
    """One service of Perpcache. Close it, or use it in `with`; it may be shared by threads.

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
        self._http = httpx2.Client(
            base_url=self.url, headers=transport.headers(token), verify=verify
        )
        self._questions = Questions(Asker(timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def table(
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
        return self._run(self._questions.whole_table(name, params))

    def watch(
        self,
        name: str,
        *,
        symbol: Names | None = None,
        exchange: Names | None = None,
        closed: bool | None = None,
        limit: int | None = None,
        since: Time | None = None,
    ) -> Generator[Table, None, None]:
        """The present version, and then each newer one as it is published, for good: never one
        twice, never an older one. It goes on by itself after any break of the service."""
        params = pairs(symbol=symbol, exchange=exchange, closed=closed, limit=limit, since=since)
        steps = Watcher(self._questions).watch(name, params)
        return cast("Generator[Table, None, None]", self._iterate(steps))

    def funding(self, *, symbol: Names | None = None, exchange: Names | None = None) -> Table:
        """The settlements of all markets, the document global_fr."""
        return self.table(GLOBAL_FR, symbol=symbol, exchange=exchange)

    def history(
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
        return self._run(
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

    def markets(
        self,
        *,
        exchange: str | None = None,
        timeframe: str | None = None,
        as_of: Time | None = None,
    ) -> list[Market]:
        """The markets that are collected, with metadata of `timeframe` (4h); or those that the
        exchanges listed `as_of` a time."""
        return self._run(self._questions.markets(exchange, timeframe, as_of))

    def overview(self, assets: Names | None = None, *, as_of: Time | None = None) -> Overview:
        """All assets over exchanges, or some: open interest, its changes, funding, turnover and
        prices, summed and of each market, all of one instant; the newest, or as they were known
        `as_of` a time."""
        return self._run(self._questions.overview(assets, as_of))

    def watch_overview(self, assets: Names | None = None) -> Generator[Overview, None, None]:
        """The present overview, and then each newer one, as `watch` does it for documents."""
        steps = Watcher(self._questions).watch_overview(assets)
        return cast("Generator[Overview, None, None]", self._iterate(steps))

    def market(self, asset: str, *, as_of: Time | None = None) -> MarketOfAsset:
        """One asset of the overview, by its name, a base or a symbol: "PEPE", "1000PEPEUSDT"; the
        newest, or as it was known `as_of` a time. Raises NotFound with near names."""
        return self._run(self._questions.market(asset, as_of))

    def collect(self, timeframe: str = "all", *, wait: bool = True, timeout: float = 900.0) -> Job:
        """Collects a timeframe, or all, now; with `wait`, until that is done. Raises JobFailed, and
        Timeout if it takes longer than `timeout`; it then goes on."""
        return self._run(self._questions.collect(timeframe, wait=wait, timeout_s=timeout))

    def jobs(self) -> list[Job]:
        """The jobs of the last days, the newest request first."""
        return self._run(self._questions.jobs())

    def job(self, job_id: str) -> Job:
        """One job, such as "collect:4h"."""
        return self._run(self._questions.job(job_id))

    def prices(
        self, assets: Names | None = None, *, quote: str | None = None, kind: str | None = None
    ) -> Json:
        """What assets cost: `prices`, `missing` and `tried`, as GET /api/prices tells them."""
        return self._run(
            self._questions.json("/api/prices", pairs(assets=assets, quote=quote, kind=kind))
        )

    def news(
        self,
        *,
        assets: Names | None = None,
        source: Names | None = None,
        since: Time | None = None,
        limit: int | None = None,
    ) -> Json:
        """The newest stories: `news` and `tried`."""
        params = pairs(assets=assets, source=source, since=since, limit=limit)
        return self._run(self._questions.json("/api/news", params))

    def sentiment(self, *, assets: Names | None = None, metric: str | None = None) -> Json:
        """How afraid or greedy the market is: `sentiment`, `missing` and `tried`."""
        return self._run(
            self._questions.json("/api/sentiment", pairs(assets=assets, metric=metric))
        )

    def gas(self, chain: str) -> Json:
        """What a transaction costs on a chain, such as "ethereum"."""
        return self._run(self._questions.one("/api/gas", chain))

    def status(self) -> Json:
        """All that is known of documents, exchanges, streams, jobs, stores and processes."""
        return self._run(self._questions.json("/status"))

    def _run(self, steps: Steps[T]) -> T:
        work = _Work(self._http)
        while True:
            try:
                step = work.resume(steps)
            except StopIteration as done:
                answer: T = done.value
                return answer
            work.do(step)

    def _iterate(self, steps: Steps[None]) -> Generator[Table | Overview, None, None]:
        with contextlib.closing(_Work(self._http)) as work:
            while True:
                step: Step = work.resume(steps)
                if isinstance(step, Give):
                    yield step.told
                else:
                    work.do(step)


class _Work:
    """Does the steps of one question, and keeps the result of the last one for it."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._stream = ExitStack()
        self._events: Iterator[httpx2.ServerSentEvent] = iter(())
        self._outcome: Any = None
        self._failure: Exception | None = None

    def close(self) -> None:
        self._stream.close()

    def resume(self, steps: Steps[Any]) -> Step:
        """The next step; raises StopIteration with the answer."""
        outcome, failure = self._outcome, self._failure
        self._outcome = self._failure = None
        return steps.send(outcome) if failure is None else steps.throw(failure)

    def do(self, step: Step) -> None:
        try:
            self._outcome = self._done(step)
        except transport.BROKEN as error:
            self._failure = transport.broken(error)
        except (Broken, PerpcacheError) as error:
            self._failure = error

    def _done(self, step: Step) -> Any:
        match step:
            case Send():
                return self._send(step)
            case Read():
                return step.read(step.reply)
            case Pause():
                return time.sleep(step.seconds)
            case Listen():
                self._stream.close()
                return self._listen(step)
            case NextEvent():
                return transport.event_of(next(self._events, None))
            case Leave():
                return self._stream.close()
            case Give():
                raise TypeError("only what is watched is given")

    def _send(self, send: Send) -> Reply:
        parts: list[bytes] = []
        with self._http.stream(**transport.arguments(send, time.monotonic())) as response:
            for part in response.iter_bytes():
                parts.append(part)
                transport.check_time(send, time.monotonic())
        return transport.reply_of(response, b"".join(parts))

    def _listen(self, listen: Listen) -> Reply:
        opened = self._http.stream(**transport.listening(listen))
        response = self._stream.enter_context(opened)
        self._events = iter(httpx2.EventSource(response))
        return transport.reply_of(response)
