"""Hearing: takes the answers that this process gets from exchanges, and keeps rows of them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import structlog

from facade.exchanges import FACADES
from facade.kept_contracts import KeptContracts
from facade.kept_rows import KeptRows
from facade.told_rows import KEPT_ENDPOINTS, ToldRow
from logging_setup import OutageLog
from market.markets import Exchange
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import stop_or, stop_or_done
from venues import VENUES
from venues.venue import Endpoint, Request

_MOST_BYTES: Final = 32 * 2**20  # of answers that wait; the oldest are left out above it
_AT_ONCE_BYTES: Final = 500_000
_PAUSE_S: Final = 1.0  # in which more come, which are kept together
_SLOW_S: Final = 5.0  # while the store is away
_LAST_S: Final = 1.0  # when the process ends

log = structlog.get_logger(__name__)


class Heard(NamedTuple):
    """A successful answer; `symbol`: the exchange's id of the contract that was asked for, None for
    all."""

    exchange: Exchange
    endpoint: Endpoint
    symbol: str | None
    body: bytes


class Hearing:
    """`note` takes answers and never waits; `run` keeps their rows until it is stopped."""

    def __init__(self, kept: KeptRows, contracts: KeptContracts) -> None:
        self._kept = kept
        self._contracts = contracts
        self._waiting: deque[Heard] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._outage = OutageLog(log, "facade_rows_wait", "facade_rows_kept_again")

    def note(self, request: Request, body: bytes) -> None:
        """The body of a successful answer to a request."""
        if _is_kept(request.exchange, request.endpoint):
            self.hear(Heard(request.exchange, request.endpoint, _native(request), body))

    def hear(self, answer: Heard) -> None:
        if _is_kept(answer.exchange, answer.endpoint):
            self._waiting.append(answer)
            self._bytes += len(answer.body)
            while self._bytes > _MOST_BYTES:
                self._bytes -= len(self._waiting.popleft().body)
            self._came.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps what comes until `stop`, and then what is left, if that is quick."""
        while not await stop_or_done(stop, self._came.wait()):
            if await stop_or(stop, _PAUSE_S if await self.flush() else _SLOW_S):
                break
        with contextlib.suppress(TimeoutError):  # what is lost is asked for when it is needed
            async with asyncio.timeout(_LAST_S):
                await self.flush()

    async def flush(self) -> bool:
        """Keeps the rows of all that waits; whether the store took them."""
        self._came.clear()
        while answers := self._some():
            rows = await asyncio.to_thread(rows_of, answers)
            contracts = await asyncio.to_thread(contracts_of, answers)
            try:
                for exchange, sizes in contracts.items():
                    await self._contracts.keep(exchange, sizes)
                for (exchange, endpoint), told in rows.items():
                    await self._kept.add(exchange, endpoint, told)
            except StoreUnavailable as error:
                self._outage.failed(error)
                self._waiting.extendleft(reversed(answers))
                self._bytes += sum(len(answer.body) for answer in answers)
                self._came.set()
                return False
        self._outage.recovered()
        return True

    def _some(self) -> list[Heard]:
        """The oldest that wait, as many as are taken apart at once."""
        taken: list[Heard] = []
        size = 0
        while self._waiting and size < _AT_ONCE_BYTES:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].body)
        self._bytes -= size
        return taken


@contextlib.asynccontextmanager
async def hearing(store: HotStore) -> AsyncIterator[Hearing]:
    """One that runs, and keeps what it has taken at the end."""
    found, stop = Hearing(KeptRows(store), KeptContracts(store)), asyncio.Event()
    running = asyncio.create_task(found.run(stop))
    try:
        yield found
    finally:
        stop.set()
        await running


def _is_kept(exchange: Exchange, endpoint: Endpoint) -> bool:
    is_list = endpoint is Endpoint.INSTRUMENTS
    return endpoint in KEPT_ENDPOINTS or (is_list and FACADES[exchange].read_contracts is not None)


def _native(request: Request) -> str | None:
    """The exchange's id of the contract that the request names."""
    name = VENUES[request.exchange].table(request.endpoint).symbol
    (native,) = parse_qs(request.target.partition("?")[2]).get(name, [None])
    return native


def rows_of(answers: Iterable[Heard]) -> dict[tuple[Exchange, Endpoint], list[ToldRow]]:
    """The rows of answers; one in another form than is known has none."""
    found: dict[tuple[Exchange, Endpoint], list[ToldRow]] = {}
    for answer in answers:
        exchange, endpoint, symbol, body = answer
        if endpoint in KEPT_ENDPOINTS:
            try:
                rows = list(FACADES[exchange].read_rows[endpoint](body, symbol))
            except (ValueError, LookupError, RecursionError) as error:
                _unreadable(answer, error)
                continue
            found.setdefault((exchange, endpoint), []).extend(rows)
    return found


def contracts_of(answers: Iterable[Heard]) -> dict[Exchange, dict[str, Decimal]]:
    """The coins in one contract by exchange and its id, of those answers that list all contracts;
    of an exchange's several ones the last."""
    found: dict[Exchange, dict[str, Decimal]] = {}
    for answer in answers:
        read = FACADES[answer.exchange].read_contracts
        if read is not None and answer.endpoint is Endpoint.INSTRUMENTS:
            try:
                found[answer.exchange] = dict(read(answer.body))
            except (ValueError, LookupError, RecursionError) as error:
                _unreadable(answer, error)
    return found


def _unreadable(answer: Heard, error: Exception) -> None:
    log.warning(
        "facade_rows_unreadable",
        exchange=answer.exchange,
        endpoint=answer.endpoint,
        market=answer.symbol,
        error=str(error)[:200],
    )
