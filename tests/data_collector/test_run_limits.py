"""When a run stops asking, to the second and to the failure, and when it begins again."""

import asyncio
from collections.abc import Callable

import pytest
import structlog

from budgets.rate_limits import LONGEST_PAUSE_S
from data_collector.run import CollectionRun, together, work_through
from data_collector.url_builder import history_request, listing_request
from market.markets import Exchange
from tests.fixtures.clock import ManualClock
from tests.fixtures.markets import market
from tests.fixtures.scripted import Scripted, error_of, failing
from venues.errors import (
    BadPayload,
    Banned,
    Blocked,
    ExchangeError,
    InternalError,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    TooFast,
    TurnedAway,
)
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
TIME = listing_request(BYBIT, Endpoint.TIME)
TICKERS = listing_request(BYBIT, Endpoint.TICKERS)
OTHER = listing_request(BINANCE, Endpoint.TIME)
SILENT = SourceDown("no answer", exchange=BYBIT)
DOWN = SourceDown("down", exchange=BYBIT, status=503)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def run(clock: ManualClock) -> CollectionRun:
    sender = Scripted(lambda request: b"")
    sender.clock = clock
    return CollectionRun(sender)


def skipped(run: CollectionRun, endpoint: Endpoint = Endpoint.TIME) -> ExchangeError | None:
    return run.reason_to_skip(BYBIT, endpoint)


# --- failures in a row ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [SourceDown, BadPayload, RateLimited, TooFast, Blocked, InternalError]
)
def test_twenty_failures_in_a_row_stop_an_endpoint(
    run: CollectionRun, kind: type[ExchangeError]
) -> None:
    for _ in range(19):
        run.failed(TIME, error_of(kind))
    assert skipped(run) is None
    error = error_of(kind)
    with structlog.testing.capture_logs() as logs:
        run.failed(TIME, error)
        run.failed(TIME, error_of(kind))
    assert skipped(run) is error
    assert skipped(run, Endpoint.TICKERS) is None
    assert run.reason_to_skip(BINANCE, Endpoint.TIME) is None
    told = {"event": "requests_stopped_for_this_job", "exchange": BYBIT, "cause": str(error)}
    assert logs == [{**told, "endpoint": Endpoint.TIME, "log_level": "warning"}]


def test_failures_in_a_row_are_counted_anew_after_an_answer_and_in_the_second_pass(
    run: CollectionRun,
) -> None:
    begin_anew: Callable[[], None]
    for begin_anew in (
        lambda: run.succeeded(TIME),
        lambda: run.failed(TIME, SymbolGone("gone", exchange=BYBIT)),
        run.reset_failures,
    ):
        for _ in range(19):
            run.failed(TIME, DOWN)
        assert skipped(run) is None
        begin_anew()
    for _ in range(19):
        run.failed(TIME, DOWN)
    run.succeeded(TICKERS)  # another endpoint
    run.succeeded(OTHER)
    assert skipped(run) is None
    run.failed(TIME, DOWN)
    assert skipped(run) is DOWN
    run.reset_failures()
    assert skipped(run) is None


@pytest.mark.parametrize("kind", [Banned, Restricted, TurnedAway])
def test_an_exchange_that_shuts_us_out_is_left_alone_for_good(
    run: CollectionRun, kind: type[ExchangeError]
) -> None:
    error = error_of(kind)
    with structlog.testing.capture_logs() as logs:
        run.failed(TIME, error)
        run.failed(TIME, error_of(kind))
    run.reset_failures()
    assert skipped(run) is skipped(run, Endpoint.KLINES) is error
    assert run.reason_to_skip(BINANCE, Endpoint.TIME) is None
    assert [(log["exchange"], log["endpoint"]) for log in logs] == [(BYBIT, None)]


# --- silence -------------------------------------------------------------------------------------


def test_an_exchange_may_be_silent_for_25_seconds(run: CollectionRun, clock: ManualClock) -> None:
    clock.now = 100.0
    run.try_failed(TIME, SILENT)
    clock.now = 125.0
    run.try_failed(TICKERS, SILENT)
    assert skipped(run) is None
    clock.now = 125.1
    run.try_failed(TICKERS, SILENT)
    assert skipped(run) is skipped(run, Endpoint.KLINES) is SILENT
    assert run.reason_to_skip(BINANCE, Endpoint.TIME) is None


def test_any_answer_ends_a_silence(run: CollectionRun, clock: ManualClock) -> None:
    answered: Callable[[], None]
    for answered in (
        lambda: run.try_failed(TICKERS, DOWN),
        lambda: run.try_failed(TICKERS, error_of(BadPayload)),
        lambda: run.succeeded(TICKERS),
    ):
        run.try_failed(TIME, SILENT)
        clock.now += 20
        answered()
        clock.now += 20
        run.try_failed(TIME, SILENT)
        assert skipped(run) is None
        run.succeeded(TICKERS)


def test_in_the_second_pass_eight_seconds_of_silence_are_enough(
    run: CollectionRun, clock: ManualClock
) -> None:
    clock.now = 100.0
    run.try_failed(TIME, SILENT)
    clock.now = 126.0
    run.try_failed(TIME, SILENT)
    run.reset_failures()
    assert skipped(run) is None
    clock.now = 134.0
    run.try_failed(TIME, SILENT)
    assert skipped(run) is None
    clock.now = 134.1
    run.try_failed(TIME, SILENT)
    assert skipped(run) is SILENT


def test_a_silence_that_has_just_begun_goes_on_in_the_second_pass(
    run: CollectionRun, clock: ManualClock
) -> None:
    clock.now = 100.0
    run.try_failed(TIME, SILENT)
    clock.now = 105.0
    run.reset_failures()
    clock.now = 125.0
    run.try_failed(TIME, SILENT)
    assert skipped(run) is None
    clock.now = 125.1
    run.try_failed(TIME, SILENT)
    assert skipped(run) is SILENT


# --- limits and lost time ------------------------------------------------------------------------


def test_an_exchange_may_limit_us_as_long_as_one_pause(
    run: CollectionRun, clock: ManualClock
) -> None:
    limited = error_of(RateLimited)
    clock.now = 100.0
    run.try_failed(TIME, limited)
    clock.now = 100.0 + LONGEST_PAUSE_S - 0.1
    run.try_failed(TICKERS, limited)
    assert skipped(run) is None
    clock.now += 0.1
    run.try_failed(TICKERS, limited)
    assert skipped(run, Endpoint.KLINES) is limited
    run.reset_failures()
    assert skipped(run) is limited


def test_an_answer_ends_the_time_of_being_limited(run: CollectionRun, clock: ManualClock) -> None:
    run.try_failed(TIME, error_of(RateLimited))
    clock.now += LONGEST_PAUSE_S - 1
    run.succeeded(TICKERS)
    clock.now += 2
    run.try_failed(TIME, error_of(RateLimited))
    run.try_failed(TIME, error_of(TooFast))
    assert skipped(run) is None


def test_an_endpoint_may_cost_35_seconds_for_each_concurrent_request(run: CollectionRun) -> None:
    run.sender.concurrency = 3
    run.counts.add_lost_time(TIME, 105.0)
    run.try_failed(TIME, DOWN)
    assert skipped(run) is None
    run.counts.add_lost_time(TIME, 0.1)
    run.try_failed(TICKERS, DOWN)
    assert skipped(run) is None
    run.try_failed(TIME, DOWN)
    assert (skipped(run), skipped(run, Endpoint.TICKERS)) == (DOWN, None)
    run.reset_failures()
    assert skipped(run) is DOWN


# --- retries and counts --------------------------------------------------------------------------


def _taken(run: CollectionRun) -> int:
    taken = 0
    while run.take_retry(TIME):
        taken += 1
    return taken


def test_forty_retries_in_each_pass_and_a_fifth_of_the_requests(run: CollectionRun) -> None:
    assert _taken(run) == 40
    assert run.take_retry(TIME) is False
    for _ in range(10):
        run.asked(TICKERS)
    assert _taken(run) == 2
    run.reset_failures()
    assert _taken(run) == 40
    assert run.take_retry(OTHER)
    for _ in range(4):
        run.asked(TICKERS)
    assert _taken(run) == 1  # a fifth of 14, rounded up


def test_retries_are_counted_once_for_the_run_and_for_the_client(run: CollectionRun) -> None:
    run.retried(TIME)
    assert (run.retries, run.sender.counts.retries) == (1, 1)
    run.sender.counts = run.counts
    run.retried(TIME)
    assert run.retries == 2
    run.counts.requests = 7
    assert run.requests == 7


def test_an_internal_error_tells_its_request(run: CollectionRun) -> None:
    named = run.internal_error(KeyError("x"), BYBIT)
    assert (named.exchange, named.endpoint, named.market) == (BYBIT, "", None)
    named = run.internal_error(KeyError("x"), BYBIT, TIME)
    assert (named.cause, named.endpoint) == ("internal error: KeyError", Endpoint.TIME)
    klines = history_request(
        market(BYBIT, "XUSDT"), Endpoint.FUNDING, start_ms=0, end_ms=1, limit=1
    )
    assert run.internal_error(KeyError("x"), BYBIT, klines).market == "XUSDT"


# --- checks of the clock -------------------------------------------------------------------------


async def test_an_answer_of_the_clock_counts_for_30_seconds(
    run: CollectionRun, clock: ManualClock
) -> None:
    async def due(exchange: Exchange = BYBIT) -> bool:
        async with run.clock_check(exchange) as found:
            return found

    assert await due()
    run.clock_answered(BYBIT)
    assert not await due()
    assert await due(BINANCE)
    clock.now = 30.0
    assert not await due()
    clock.now = 30.1
    assert await due()
    run.failed(TIME, error_of(Banned))
    assert not await due()


async def test_one_check_of_a_clock_at_a_time(run: CollectionRun) -> None:
    found: list[bool] = []
    begun, release = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        async with run.clock_check(BYBIT) as due:
            found.append(due)
            begun.set()
            await release.wait()
            run.clock_answered(BYBIT)

    checks = [asyncio.create_task(check()) for _ in range(2)]
    await begun.wait()
    release.set()
    await asyncio.gather(*checks)
    assert found == [True, False]


# --- work in parallel ----------------------------------------------------------------------------


async def test_the_first_exception_cancels_the_others_and_is_raised_itself() -> None:
    cancelled = []

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise MemoryError("no more")

    with pytest.raises(MemoryError) as failed:
        await together(work() for work in (waiting, fails, waiting))
    assert cancelled == [True, True]
    assert failed.value.__suppress_context__


async def test_a_failed_item_is_told_to_the_metrics_and_the_others_go_on() -> None:
    sender = failing()
    run, told = CollectionRun(sender), []

    async def work(item: int) -> None:
        if item == 1:
            raise KeyError("odd")

    await work_through(
        run, range(3), lambda item: BYBIT, work, lambda *both: told.append(both), workers=9
    )
    assert [(item, error.cause, error.exchange) for item, error in told] == [
        (1, "internal error: KeyError", BYBIT)
    ]
