"""Whom a run leaves alone, and for how long; its workers are bounded."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from budgets.request_counts import RequestCounts
from data_collector.retries import TRIES, fetch_simple
from data_collector.run import (
    LONGEST_LIMITED_S,
    MAX_FAILURES_IN_A_ROW,
    MAX_LOST_TIME_S,
    CollectionRun,
    work_through,
)
from data_collector.url_builder import listing_request
from market.markets import Exchange
from metrics.exchanges import ExchangeMetrics
from stores.cold.pool import DatabaseUnavailable
from stores.hot.leases import LeaseLost
from stores.hot.store import StoreUnavailable
from tests.fixtures.scripted import Scripted, error_of, failing
from venues.errors import (
    Banned,
    ExchangeError,
    GaveUp,
    InternalError,
    RateLimited,
    Restricted,
    SourceDown,
    TurnedAway,
)
from venues.venue import Endpoint, Request

TIME = listing_request(Exchange.BYBIT, Endpoint.TIME)


@pytest.mark.parametrize("kind", [Banned, Restricted, TurnedAway])
async def test_an_exchange_that_shuts_us_out_is_left_alone(kind: type[ExchangeError]) -> None:
    sender = failing(error_of(kind))
    run = CollectionRun(sender)
    with pytest.raises(kind):
        await fetch_simple(run, TIME, bytes.decode)
    for endpoint in (Endpoint.TIME, Endpoint.TICKERS):
        with pytest.raises(GaveUp, match="not asked: so"):
            await fetch_simple(run, listing_request(Exchange.BYBIT, endpoint), bytes.decode)
    other = listing_request(Exchange.BINANCE, Endpoint.TIME)
    assert await fetch_simple(run, other, bytes.decode) == "fine"
    run.reset_failures()
    with pytest.raises(GaveUp):
        await fetch_simple(run, TIME, bytes.decode)
    assert run.requests == 2
    # Another job asks for itself.
    assert await fetch_simple(CollectionRun(sender), TIME, bytes.decode) == "fine"


async def test_an_endpoint_that_fails_for_everybody_is_left_alone() -> None:
    down = True

    def answer(request: Request) -> bytes:
        if down and request.endpoint is Endpoint.TIME:
            raise SourceDown("so", exchange=Exchange.BYBIT, status=503)
        return b"fine"

    sender = Scripted(answer)
    run = CollectionRun(sender)
    for _ in range(MAX_FAILURES_IN_A_ROW):
        with pytest.raises(SourceDown):
            await fetch_simple(run, TIME, bytes.decode)
    asked = len(sender.sent)
    with pytest.raises(GaveUp, match="so"):
        await fetch_simple(run, TIME, bytes.decode)
    assert len(sender.sent) == asked
    tickers = listing_request(Exchange.BYBIT, Endpoint.TICKERS)
    assert await fetch_simple(run, tickers, bytes.decode) == "fine"
    down = False
    run.reset_failures()
    assert await fetch_simple(run, TIME, bytes.decode) == "fine"


async def test_one_answer_in_between_keeps_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.run.RETRIES", 10**6)
    answers = iter(([False] * (TRIES[SourceDown] * (MAX_FAILURES_IN_A_ROW - 1)) + [True]) * 3)

    def answer(request: Request) -> bytes:
        if not next(answers):
            raise SourceDown("so", exchange=Exchange.BYBIT, status=503)
        return b"fine"

    run = CollectionRun(Scripted(answer))
    for _ in range(3):
        for _ in range(MAX_FAILURES_IN_A_ROW - 1):
            with pytest.raises(SourceDown):
                await fetch_simple(run, TIME, bytes.decode)
        assert await fetch_simple(run, TIME, bytes.decode) == "fine"


async def test_an_exchange_that_says_nothing_at_all_is_left_alone() -> None:
    """Each request has its deadline of 10 s, but there may be hundreds of them."""
    down = True
    sender = Scripted(lambda request: b"fine")
    answer = sender.send

    async def hanging(request: Request, counts: RequestCounts) -> bytes:
        if down:
            await sender.clock.sleep(10)
            raise error_of(SourceDown)
        return await answer(request, counts)

    sender.send = hanging  # type: ignore[method-assign]
    run = CollectionRun(sender)
    for endpoint in (Endpoint.TIME, Endpoint.TICKERS, Endpoint.INSTRUMENTS, Endpoint.TIME):
        with pytest.raises((SourceDown, GaveUp)):
            await fetch_simple(run, listing_request(Exchange.BYBIT, endpoint), bytes.decode)
    assert sender.clock.monotonic_s() <= 45
    # After the reset one deadline is enough.
    run.reset_failures()
    with pytest.raises(GaveUp):
        await fetch_simple(run, TIME, bytes.decode)
    assert sender.clock.monotonic_s() <= 60
    down = False
    run.reset_failures()
    assert await fetch_simple(run, TIME, bytes.decode) == "fine"


@pytest.mark.parametrize("pause_s", [LONGEST_LIMITED_S, 20.0, 7.0])
async def test_an_exchange_that_only_refuses_our_pace_is_left_alone(pause_s: float) -> None:
    """Each pause is short, but a request may meet five of them, in each of two passes."""
    refusals: float = 1  # that are still to come
    sender = Scripted(lambda request: b"fine")
    answer = sender.send

    async def refusing(request: Request, counts: RequestCounts) -> bytes:
        nonlocal refusals
        if refusals > 0 and request.exchange is Exchange.BYBIT:
            refusals -= 1
            await sender.clock.sleep(pause_s)  # as the limits do
            raise error_of(RateLimited)
        return await answer(request, counts)

    async def refused(run: CollectionRun) -> None:
        for _ in range(20):
            with pytest.raises((RateLimited, GaveUp)):
                await fetch_simple(run, TIME, bytes.decode)

    sender.send = refusing  # type: ignore[method-assign]
    run = CollectionRun(sender)
    # What was refused before an answer does not count.
    assert await fetch_simple(run, TIME, bytes.decode) == "fine"
    refusals, began = math.inf, sender.clock.monotonic_s()
    await refused(run)
    run.reset_failures()
    await refused(run)
    lost_s = sender.clock.monotonic_s() - began
    assert LONGEST_LIMITED_S <= lost_s - pause_s < LONGEST_LIMITED_S + pause_s
    other = listing_request(Exchange.BINANCE, Endpoint.TIME)
    assert await fetch_simple(run, other, bytes.decode) == "fine"


async def test_an_endpoint_that_answers_only_now_and_then_is_left_alone() -> None:
    answers = 0
    sender = Scripted(lambda request: b"fine")
    answer = sender.send

    async def hanging(request: Request, counts: RequestCounts) -> bytes:
        nonlocal answers
        if request.endpoint is Endpoint.TIME and (answers := answers + 1) % 3:
            await sender.clock.sleep(10)
            counts.add_lost_time(request, 10)
            raise error_of(SourceDown)
        return await answer(request, counts)

    sender.send = hanging  # type: ignore[method-assign]
    run = CollectionRun(sender)
    with pytest.raises(GaveUp):
        for _ in range(1000):
            await fetch_simple(run, TIME, bytes.decode)
    lost_s = run.counts.lost_s[Exchange.BYBIT, Endpoint.TIME]
    assert (
        MAX_LOST_TIME_S * sender.concurrency < lost_s <= MAX_LOST_TIME_S * sender.concurrency + 10
    )
    run.reset_failures()
    with pytest.raises(GaveUp):
        await fetch_simple(run, TIME, bytes.decode)
    tickers = listing_request(Exchange.BYBIT, Endpoint.TICKERS)
    assert await fetch_simple(run, tickers, bytes.decode) == "fine"


async def test_workers_are_bounded_and_both_exchanges_proceed() -> None:
    running = {exchange: 0 for exchange in Exchange}
    most = dict(running)
    done: list[tuple[Exchange, int]] = []
    items = [(exchange, n) for exchange in Exchange for n in range(50)]

    async def work(item: tuple[Exchange, int]) -> None:
        running[item[0]] += 1
        most[item[0]] = max(most[item[0]], running[item[0]])
        await asyncio.sleep(0)
        running[item[0]] -= 1
        done.append(item)

    run = CollectionRun(failing())
    await work_through(run, items, lambda item: item[0], work, lambda item, error: None, workers=7)
    assert sorted(done) == sorted(items)
    assert most == {exchange: 7 for exchange in Exchange}
    assert {exchange for exchange, _ in done[:20]} == set(Exchange)


async def _work(
    work: Callable[[int], Awaitable[None]], **options: Any
) -> list[tuple[int, ExchangeError]]:
    """Works through ten items of each exchange; the failed ones, with their errors."""
    failed: list[tuple[int, ExchangeError]] = []
    await work_through(
        CollectionRun(failing()),
        range(20),
        lambda item: (Exchange.BINANCE, Exchange.BYBIT)[item % 2],
        work,
        lambda item, error: failed.append((item, error)),
        workers=2,
        **options,
    )
    return failed


def _recursion() -> None:
    _recursion()


NOTHING: dict[str, str] = {}
RAISED: dict[str, Callable[[], object]] = {
    "RecursionError": _recursion,
    "ZeroDivisionError": lambda: 1 // 0,
    "KeyError": lambda: NOTHING["x" * 9000],
    "ValueError": lambda: int("9" * 5000),
    "OverflowError": lambda: 2.0**10**4,
    "UnicodeEncodeError": lambda: "\ud800".encode(),
    "TimeoutError": lambda: (_ for _ in ()).throw(TimeoutError()),
    "ExceptionGroup": lambda: (_ for _ in ()).throw(ExceptionGroup("two", [OSError()])),
}


@pytest.mark.parametrize("name", list(RAISED))
async def test_an_unexpected_error_is_its_items_alone(name: str) -> None:
    done = []

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        if item in (3, 4, 5):
            RAISED[name]()
        done.append(item)

    with structlog.testing.capture_logs() as logs:
        failed = await _work(work)
    assert sorted(done) == [item for item in range(20) if item not in (3, 4, 5)]
    assert sorted(item for item, _ in failed) == [3, 4, 5]
    for item, error in failed:
        assert error.exchange is (Exchange.BINANCE, Exchange.BYBIT)[item % 2]
        assert error.cause == f"internal error: {name}"
    # Each kind is logged once with its traceback, and in lines that nobody else makes long.
    logged = [entry for entry in logs if entry["event"] == "internal_error"]
    assert [entry["log_level"] for entry in logged] == ["error", "debug", "debug"]
    assert [("exc_info" in entry) for entry in logged] == [True, False, False]
    assert all(len(entry["error"]) <= 500 for entry in logged)


async def test_unexpected_errors_are_counted() -> None:
    registry = CollectorRegistry()
    sender = failing()
    sender.counts.metrics = ExchangeMetrics(registry)
    run = CollectionRun(sender)

    async def work(item: int) -> None:
        raise ZeroDivisionError

    await work_through(
        run, range(3), lambda item: Exchange.BYBIT, work, lambda item, error: None, workers=1
    )
    labels = {"exchange": "bybit", "kind": "InternalError"}
    assert registry.get_sample_value("perpcache_exchange_errors_total", labels) == 3


async def test_what_the_parser_raises_is_an_error_of_the_request() -> None:
    def parse(body: bytes) -> object:
        return RAISED["RecursionError"]()

    sender = failing()
    with pytest.raises(InternalError, match="bybit time: internal error: RecursionError"):
        await fetch_simple(CollectionRun(sender), TIME, parse)
    assert len(sender.sent) == 1  # the same answer would raise the same again


@pytest.mark.parametrize(
    "ending",
    [
        LeaseLost("taken over"),
        StoreUnavailable("away"),
        MemoryError(),
        DatabaseUnavailable("away"),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
    ids=lambda ending: type(ending).__name__,
)
def test_what_ends_a_job_is_raised_as_itself(ending: BaseException) -> None:
    started = []

    async def work(item: int) -> None:
        started.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise ending

    with pytest.raises(type(ending)):
        asyncio.run(_work(work, ends=(DatabaseUnavailable,)))
    assert len(started) < 15


async def test_cancelled_work_ends() -> None:
    started = asyncio.Event()

    async def work(item: int) -> None:
        started.set()
        await asyncio.Event().wait()

    working = asyncio.create_task(_work(work))
    await started.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_lost_lease_in_a_parser_ends_the_job() -> None:
    for ending in (LeaseLost("taken over"), StoreUnavailable("away"), MemoryError()):

        def parse(body: bytes, ending: Exception = ending) -> None:
            raise ending

        with pytest.raises(type(ending)):
            await fetch_simple(CollectionRun(failing()), TIME, parse)
