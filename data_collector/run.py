"""State of one job's requests: counts, and the exchanges and endpoints it has stopped asking."""

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

# An endpoint is not asked again after this many failures without a success in between.
MAX_FAILURES_IN_A_ROW: Final = 20
# How long a run waits in vain: for a silent exchange, from the first failure; and for one endpoint
# in total, divided by the number of concurrent requests.
LONGEST_SILENCE_S: Final = 25.0
_SECOND_SILENCE_S: Final = 8.0  # after reset_failures()
MAX_LOST_TIME_S: Final = 35.0

Item = TypeVar("Item")
Key = TypeVar("Key", Exchange, tuple[Exchange, Endpoint])

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """The part of ExchangeClient that a run uses."""

    clock: Clock
    concurrency: int
    counts: RequestCounts

    async def send(self, request: Request, counts: RequestCounts) -> bytes: ...


class CollectionRun:
    """What one job sent to the exchanges, and which of them it has stopped asking.

    A run stops asking an exchange that pauses us for long, does not serve our location or is
    silent; and an endpoint that fails for one market after another or costs too much time. Data
    of the others would otherwise grow old meanwhile.
    """

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.counts = RequestCounts()
        self.empty_before: Counter[tuple[Exchange, Endpoint, Timeframe | None, int]] = Counter()
        self._excluded: dict[Exchange, ExchangeError] = {}
        self._silent: dict[Exchange, ExchangeError] = {}
        self._failing: dict[tuple[Exchange, Endpoint], ExchangeError] = {}
        self._too_slow: dict[tuple[Exchange, Endpoint], ExchangeError] = {}
        self._streaks: Counter[tuple[Exchange, Endpoint]] = Counter()
        self._silent_since: dict[Exchange, float] = {}

    @property
    def requests(self) -> int:
        return self.counts.requests

    @property
    def retries(self) -> int:
        return self.counts.retries

    def reason_to_skip(self, exchange: Exchange, endpoint: Endpoint) -> ExchangeError | None:
        """The error for which this run has stopped asking the endpoint, or None."""
        where = exchange, endpoint
        return (
            self._excluded.get(exchange)
            or self._silent.get(exchange)
            or self._too_slow.get(where)
            or self._failing.get(where)
        )

    def reset_failures(self) -> None:
        """Allows requests again where answers failed; not to exchanges that banned or restricted
        us, nor to endpoints that have cost too much time."""
        self._failing.clear()
        self._streaks.clear()
        self._silent.clear()
        soon = self.sender.clock.monotonic_s() - LONGEST_SILENCE_S + _SECOND_SILENCE_S
        self._silent_since = {
            exchange: max(since, soon) for exchange, since in self._silent_since.items()
        }

    def retried(self, request: Request) -> None:
        """The request is about to be repeated."""
        self.counts.retried(request)
        if self.sender.counts is not self.counts:
            self.sender.counts.retried(request)

    def succeeded(self, request: Request) -> None:
        """The request succeeded."""
        self._streaks.pop((request.exchange, request.endpoint), None)
        self._silent_since.pop(request.exchange, None)

    def try_failed(self, request: Request, error: ExchangeError) -> None:
        """One attempt failed; others may follow."""
        exchange, now = request.exchange, self.sender.clock.monotonic_s()
        where = exchange, request.endpoint
        if isinstance(error, SourceDown) and error.status is None:
            if now - self._silent_since.setdefault(exchange, now) > LONGEST_SILENCE_S:
                _stop_asking(self._silent, exchange, error)
        else:
            self._silent_since.pop(exchange, None)  # it answers
        if self.counts.lost_s.get(where, 0.0) > MAX_LOST_TIME_S * self.sender.concurrency:
            _stop_asking(self._too_slow, where, error)

    def failed(self, request: Request, error: ExchangeError) -> None:
        """The last attempt failed."""
        exchange, endpoint = request.exchange, request.endpoint
        if isinstance(error, Banned | Restricted):
            _stop_asking(self._excluded, exchange, error)
        elif isinstance(error, SourceDown | BadPayload | RateLimited):
            self._streaks[exchange, endpoint] += 1
            if self._streaks[exchange, endpoint] == MAX_FAILURES_IN_A_ROW:
                _stop_asking(self._failing, (exchange, endpoint), error)
        else:
            self.succeeded(request)  # the endpoint works; the error concerns this market


def _stop_asking(stopped: dict[Key, ExchangeError], what: Key, error: ExchangeError) -> None:
    if what not in stopped:
        stopped[what] = error
        exchange, endpoint = what if isinstance(what, tuple) else (what, None)
        log.warning(
            "requests_stopped_for_this_job", exchange=exchange, endpoint=endpoint, cause=str(error)
        )


async def work_through(
    items: Sequence[Item],
    exchange_of: Callable[[Item], Exchange],
    work: Callable[[Item], Awaitable[None]],
    *,
    workers: int,
) -> None:
    """Runs `work` on every item, with at most `workers` at a time per exchange and all exchanges
    concurrently. An exception from `work` cancels everything and is raised."""
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
        # The first is the cause; the group then cancelled the others.
        raise failures.exceptions[0] from None
