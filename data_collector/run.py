"""One job's dealings with the exchanges: what it sent, whom it has given up on, its workers."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from budgets.request_counts import RequestCounts
from market.markets import Exchange
from market.timeframes import Timeframe
from timing.clock import Clock
from venues.errors import (
    BadPayload,
    Banned,
    ExchangeError,
    RateLimited,
    Restricted,
    SourceDown,
)
from venues.venue import Endpoint, Request

# An endpoint that failed for so many markets in a row, none answered in between, is left alone.
HOPELESS_AFTER: Final = 20
# So long a run waits in vain: for an exchange that has gone silent, counted from the first
# failure, and for one endpoint in sum, divided by the requests that may be under way.
LONGEST_SILENCE_S: Final = 25.0
_SECOND_SILENCE_S: Final = 8.0  # after it was forgiven
LONGEST_LOSS_S: Final = 35.0

Item = TypeVar("Item")
Key = TypeVar("Key", Exchange, tuple[Exchange, Endpoint])

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """What sends one request: ExchangeClient."""

    clock: Clock
    concurrency: int
    counts: RequestCounts

    async def send(self, request: Request, counts: RequestCounts) -> bytes: ...


class CollectionRun:
    """What one job sent to the exchanges, and which of them it no longer asks.

    An exchange is left alone for the rest of the run when it pauses us for long, does not serve
    this place or has gone silent; an endpoint when it fails for one market after the other, or
    when too much time was lost on it: the data of the others must not grow old meanwhile.
    """

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.counts = RequestCounts()
        self.edges: Counter[tuple[Exchange, Endpoint, Timeframe | None, int]] = Counter()
        self._left: dict[Exchange, ExchangeError] = {}
        self._silent: dict[Exchange, ExchangeError] = {}
        self._hopeless: dict[tuple[Exchange, Endpoint], ExchangeError] = {}
        self._too_slow: dict[tuple[Exchange, Endpoint], ExchangeError] = {}
        self._streaks: Counter[tuple[Exchange, Endpoint]] = Counter()
        self._silent_since: dict[Exchange, float] = {}

    @property
    def requests(self) -> int:
        return self.counts.requests

    @property
    def retries(self) -> int:
        return self.counts.retries

    def gave_up(self, exchange: Exchange, endpoint: Endpoint) -> ExchangeError | None:
        """Why this run no longer asks the endpoint; None while it does."""
        where = exchange, endpoint
        return (
            self._left.get(exchange)
            or self._silent.get(exchange)
            or self._too_slow.get(where)
            or self._hopeless.get(where)
        )

    def forgive(self) -> None:
        """Asks again where nothing was answered; an exchange that shut us out stays left, and so
        does an endpoint that has cost too much time already."""
        self._hopeless.clear()
        self._streaks.clear()
        self._silent.clear()
        soon = self.sender.clock.monotonic_s() - LONGEST_SILENCE_S + _SECOND_SILENCE_S
        self._silent_since = {
            exchange: max(since, soon) for exchange, since in self._silent_since.items()
        }

    def retried(self, request: Request) -> None:
        """The request is about to be sent once more."""
        self.counts.retried(request)
        if self.sender.counts is not self.counts:
            self.sender.counts.retried(request)

    def succeeded(self, request: Request) -> None:
        """The request was answered as it should be."""
        self._streaks.pop((request.exchange, request.endpoint), None)
        self._silent_since.pop(request.exchange, None)

    def try_failed(self, request: Request, error: ExchangeError) -> None:
        """One try failed; others may follow."""
        exchange, now = request.exchange, self.sender.clock.monotonic_s()
        where = exchange, request.endpoint
        if isinstance(error, SourceDown) and error.status is None:
            if now - self._silent_since.setdefault(exchange, now) > LONGEST_SILENCE_S:
                _leave(self._silent, exchange, error)
        else:
            self._silent_since.pop(exchange, None)  # a sign of life
        if self.counts.lost_s.get(where, 0.0) > LONGEST_LOSS_S * self.sender.concurrency:
            _leave(self._too_slow, where, error)

    def failed(self, request: Request, error: ExchangeError) -> None:
        """The last try failed."""
        exchange, endpoint = request.exchange, request.endpoint
        if isinstance(error, Banned | Restricted):
            _leave(self._left, exchange, error)
        elif isinstance(error, SourceDown | BadPayload | RateLimited):
            self._streaks[exchange, endpoint] += 1
            if self._streaks[exchange, endpoint] == HOPELESS_AFTER:
                _leave(self._hopeless, (exchange, endpoint), error)
        else:
            self.succeeded(request)  # it answered; what is wrong is this market's matter


def _leave(left: dict[Key, ExchangeError], what: Key, error: ExchangeError) -> None:
    if what not in left:
        left[what] = error
        exchange, endpoint = what if isinstance(what, tuple) else (what, None)
        log.warning(
            "not_asked_again_in_this_job", exchange=exchange, endpoint=endpoint, cause=str(error)
        )


async def work_through(
    items: Sequence[Item],
    exchange_of: Callable[[Item], Exchange],
    work: Callable[[Item], Awaitable[None]],
    *,
    workers: int,
) -> None:
    """Every item worked on once, by at most `workers` at a time for each exchange, all exchanges
    side by side. `work` handles the errors it expects; any other ends everything."""
    by_exchange: dict[Exchange, list[Item]] = {}
    for item in items:
        by_exchange.setdefault(exchange_of(item), []).append(item)

    async def worker(waiting: Iterator[Item]) -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for queue in by_exchange.values():
                waiting = iter(queue)
                for _ in range(min(workers, len(queue))):
                    group.create_task(worker(waiting))
    except ExceptionGroup as failures:
        # The first is the cause: it made the group cancel the others.
        raise failures.exceptions[0] from None
