"""Hearing: takes the answers that this process gets from exchanges, and keeps rows of them."""

import asyncio
import contextlib
from collections import deque
from typing import Final

import structlog

from facade.exchanges import FACADES
from facade.kept_rows import KeptRows
from facade.told_rows import KEPT_ENDPOINTS, ToldRow
from logging_setup import OutageLog
from market.markets import Exchange
from stores.hot.store import StoreUnavailable
from timing.backoff import stop_or, stop_or_done
from venues.venue import Endpoint, Request

_MOST_WAITING: Final = 4_000  # answers, while the store is away; the oldest are left out then
_PAUSE_S: Final = 1.0  # in which more come, which are kept together
_SLOW_S: Final = 5.0  # while the store is away
_LAST_S: Final = 1.0  # when the process ends

log = structlog.get_logger(__name__)


class Hearing:
    """`note` takes answers and never waits; `run` keeps their rows until it is stopped."""

    def __init__(self, kept: KeptRows) -> None:
        self._kept = kept
        self._waiting: deque[tuple[Request, bytes]] = deque(maxlen=_MOST_WAITING)
        self._came = asyncio.Event()
        self._outage = OutageLog(log, "facade_rows_wait", "facade_rows_kept_again")

    def note(self, request: Request, body: bytes) -> None:
        """The body of a successful answer."""
        if request.endpoint in KEPT_ENDPOINTS:
            self._waiting.append((request, body))
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
        answers = [self._waiting.popleft() for _ in range(len(self._waiting))]
        rows = await asyncio.to_thread(rows_of, answers)
        try:
            for (exchange, endpoint), told in rows.items():
                await self._kept.add(exchange, endpoint, told)
        except StoreUnavailable as error:
            self._outage.failed(error, waiting=len(answers))
            self._waiting.extendleft(reversed(answers))
            self._came.set()
            return False
        self._outage.recovered()
        return True


def rows_of(
    answers: list[tuple[Request, bytes]],
) -> dict[tuple[Exchange, Endpoint], list[ToldRow]]:
    """The rows of answers; one in another form than is known has none."""
    found: dict[tuple[Exchange, Endpoint], list[ToldRow]] = {}
    for request, body in answers:
        read = FACADES[request.exchange].read_rows[request.endpoint]
        try:
            rows = list(read(body, request.symbol))
        except (ValueError, LookupError, RecursionError) as error:
            log.warning(
                "facade_rows_unreadable",
                exchange=request.exchange,
                endpoint=request.endpoint,
                market=request.symbol,
                error=str(error)[:200],
            )
            continue
        found.setdefault((request.exchange, request.endpoint), []).extend(rows)
    return found
