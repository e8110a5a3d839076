"""State of one job's requests: counts, and the exchanges and endpoints it has stopped asking."""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, Final, Protocol, TypeVar

import structlog

from budgets.rate_limits import LONGEST_PAUSE_S
from budgets.request_counts import RequestCounts
from data_collector.horizons import Horizons
from data_collector.internal_errors import ENDS_JOB, InternalErrors
from market.markets import Exchange
from market.timeframes import Timeframe
from timing.clock import Clock
from venues.errors import (
    BadPayload,
    Banned,
    Blocked,
    ExchangeError,
    InternalError,
    RateLimited,
    Restricted,
    SourceDown,
    TooFast,
    TurnedAway,
)
from venues.venue import Endpoint, Request

# An endpoint is not asked again after this many failures without a success in between.
MAX_FAILURES_IN_A_ROW: Final = 20
# How long a run waits in vain: for a silent exchange, from the first failure; and for one endpoint
# in total, divided by the number of concurrent requests.
LONGEST_SILENCE_S: Final = 25.0
_SECOND_SILENCE_S: Final = 8.0  # after reset_failures()
MAX_LOST_TIME_S: Final = 35.0
# For how long an exchange may answer nothing but that we ask too often, however short its pauses
# are: as long as the longest single pause that a run waits for (budgets.rate_limits).
LONGEST_LIMITED_S: Final = LONGEST_PAUSE_S
# Retries of an exchange's requests, in each of a run's two passes, and in addition this share of
# its requests: an exchange in trouble must not get several times as many requests as a sound one.
RETRIES: Final = 40
RETRIED_SHARE: Final = 0.2
# For how long an answer of an exchange's clock shows that refusals are of single markets.
_CLOCK_SHOWS_S: Final = 30.0

# Errors that may concern an endpoint as a whole if they follow one another.
_OF_ENDPOINT: Final = (SourceDown, BadPayload, RateLimited, TooFast, Blocked, InternalError)

Item = TypeVar("Item")
Key = TypeVar("Key", Exchange, tuple[Exchange, Endpoint])

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """The part of ExchangeClient that a run uses."""

    clock: Clock
    concurrency: int
    counts: RequestCounts

    async def send(self, request: Request, counts: RequestCounts) -> bytes: ...


class Order(Protocol):
    """The order in which a run works through items of an exchange."""

    def in_turn(self, exchange: Exchange, items: Sequence[Any]) -> Iterator[Any]: ...


class CollectionRun:
    """What one job sent to the exchanges, and which of them it has stopped asking.

    A run stops asking an exchange that pauses us for long or again and again, does not serve our
    location or is silent; and an endpoint that fails for one market after another or costs too
    much time. Data of the others would otherwise grow old meanwhile.

    `trade_columns`: candles are read with what they tell of trades. `maintenance`: by exchange that
    was asked for it, what it is and until when.
    """

    def __init__(self, sender: Sender, *, trade_columns: bool = False) -> None:
        self.sender = sender
        self.trade_columns = trade_columns
        self.order: Order | None = None  # None: as they come
        self.counts = RequestCounts()
        self.empty_before: Counter[tuple[Exchange, Endpoint, Timeframe | None, int]] = Counter()
        self.horizons = Horizons()
        self.maintenance: dict[Exchange, str] = {}  # what was told of it, "" if nothing was
        self._excluded: dict[Exchange, ExchangeError] = {}
        self._silent: dict[Exchange, ExchangeError] = {}
        self._failing: dict[tuple[Exchange, Endpoint], ExchangeError] = {}
        self._too_slow: dict[tuple[Exchange, Endpoint], ExchangeError] = {}
        self._streaks: Counter[tuple[Exchange, Endpoint]] = Counter()
        self._silent_since: dict[Exchange, float] = {}
        self._limited_since: dict[Exchange, float] = {}
        self._internal = InternalErrors()
        self._passes = 1
        self._asked: Counter[Exchange] = Counter()  # requests that were no retries
        self._repeated: Counter[Exchange] = Counter()
        self._clock_checks: dict[Exchange, asyncio.Lock] = {}
        self._clock_answered_at: dict[Exchange, float] = {}

    @property
    def requests(self) -> int:
        return self.counts.requests

    @property
    def retries(self) -> int:
        return self.counts.retries

    def in_turn(self, exchange: Exchange, items: Sequence[Item]) -> Iterator[Item]:
        """The exchange's items in the run's order."""
        return iter(items) if self.order is None else self.order.in_turn(exchange, items)

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
        self._passes += 1
        self._failing.clear()
        self._streaks.clear()
        self._silent.clear()
        soon = self.sender.clock.monotonic_s() - LONGEST_SILENCE_S + _SECOND_SILENCE_S
        self._silent_since = {
            exchange: max(since, soon) for exchange, since in self._silent_since.items()
        }

    def asked(self, request: Request) -> None:
        """The request is about to be sent for the first time."""
        self._asked[request.exchange] += 1

    def take_retry(self, request: Request) -> bool:
        """Takes one of the exchange's retries; False: they are used up."""
        exchange = request.exchange
        left = RETRIES * self._passes + RETRIED_SHARE * self._asked[exchange]
        if self._repeated[exchange] >= left:
            return False
        self._repeated[exchange] += 1
        return True

    def retried(self, request: Request) -> None:
        """The request is about to be repeated."""
        self.counts.retried(request)
        if self.sender.counts is not self.counts:
            self.sender.counts.retried(request)

    def succeeded(self, request: Request) -> None:
        """The request succeeded."""
        self._streaks.pop((request.exchange, request.endpoint), None)
        self._silent_since.pop(request.exchange, None)
        self._limited_since.pop(request.exchange, None)

    def try_failed(self, request: Request, error: ExchangeError) -> None:
        """One attempt failed; others may follow."""
        exchange, now = request.exchange, self.sender.clock.monotonic_s()
        where = exchange, request.endpoint
        if isinstance(error, SourceDown) and error.status is None:
            if now - self._silent_since.setdefault(exchange, now) > LONGEST_SILENCE_S:
                _stop_asking(self._silent, exchange, error)
        else:
            self._silent_since.pop(exchange, None)  # it answers
        if isinstance(error, RateLimited):
            limited_s = now - self._limited_since.setdefault(exchange, now)
            if limited_s >= LONGEST_LIMITED_S:
                _stop_asking(self._excluded, exchange, error)
        if self.counts.lost_s.get(where, 0.0) > MAX_LOST_TIME_S * self.sender.concurrency:
            _stop_asking(self._too_slow, where, error)

    def failed(self, request: Request, error: ExchangeError) -> None:
        """The last attempt failed."""
        exchange, endpoint = request.exchange, request.endpoint
        if isinstance(error, Banned | Restricted | TurnedAway):
            _stop_asking(self._excluded, exchange, error)
        elif isinstance(error, _OF_ENDPOINT):
            self._streaks[exchange, endpoint] += 1
            if self._streaks[exchange, endpoint] == MAX_FAILURES_IN_A_ROW:
                _stop_asking(self._failing, (exchange, endpoint), error)
        else:
            self.succeeded(request)  # the endpoint works; the error concerns this market

    def internal_error(
        self, error: Exception, exchange: Exchange, request: Request | None = None
    ) -> ExchangeError:
        """The exception as an error of the request, or of the exchange's data; logged."""
        endpoint, market = ("", None) if request is None else (request.endpoint, request.symbol)
        return self._internal.named(error, exchange, endpoint=endpoint, market=market)

    @contextlib.asynccontextmanager
    async def clock_check(self, exchange: Exchange) -> AsyncIterator[bool]:
        """One check of the exchange's clock at a time; False: the last one still counts."""
        async with self._clock_checks.setdefault(exchange, asyncio.Lock()):
            now = self.sender.clock.monotonic_s()
            answered_at = self._clock_answered_at.get(exchange, -math.inf)
            yield exchange not in self._excluded and now - answered_at > _CLOCK_SHOWS_S

    def clock_answered(self, exchange: Exchange) -> None:
        """The exchange's clock was asked because of a refusal, and answered."""
        self._clock_answered_at[exchange] = self.sender.clock.monotonic_s()


def _stop_asking(stopped: dict[Key, ExchangeError], what: Key, error: ExchangeError) -> None:
    if what not in stopped:
        stopped[what] = error
        exchange, endpoint = what if isinstance(what, tuple) else (what, None)
        log.warning(
            "requests_stopped_for_this_job", exchange=exchange, endpoint=endpoint, cause=str(error)
        )


async def work_through(
    run: CollectionRun,
    items: Sequence[Item],
    exchange_of: Callable[[Item], Exchange],
    work: Callable[[Item], Awaitable[None]],
    failed: Callable[[Item, ExchangeError], None],
    *,
    workers: int,
    ends: tuple[type[Exception], ...] = (),
) -> None:
    """Runs `work` on every item, with at most `workers` at a time per exchange and all exchanges
    concurrently.

    An exception from `work` is its item's: `failed` is called with it, and the others go on. Only
    ENDS_JOB and `ends` cancel everything and are raised.
    """
    ending: tuple[type[Exception], ...] = (*ENDS_JOB, *ends)
    by_exchange: dict[Exchange, list[Item]] = {}
    for item in items:
        by_exchange.setdefault(exchange_of(item), []).append(item)

    async def worker(exchange: Exchange, waiting: Iterator[Item]) -> None:
        for item in waiting:
            try:
                await work(item)
            except ending:
                raise
            except Exception as error:
                named = run.internal_error(error, exchange)
                run.sender.counts.failed(exchange, named)
                failed(item, named)

    queues = {exchange: run.in_turn(exchange, queue) for exchange, queue in by_exchange.items()}
    await together(
        worker(exchange, queues[exchange])
        for exchange, queue in by_exchange.items()
        for _ in range(min(workers, len(queue)))
    )


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs them concurrently. The first exception cancels the others and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
