"""Pages are followed by what came back; retries where they help; workers are bounded.

The other side here is a dozen lines that keep an exchange's order and window rules and may cut
any page short: what the simulator does over HTTP is tested in test_fetch_market_data.py.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.request_counts import RequestCounts
from data_collector.fetch_strategies import (
    HISTORY_START_KNOWN_AFTER,
    fetch_funding,
    fetch_klines,
    fetch_open_interest,
)
from data_collector.retries import RETRY_WITHIN_S, TRIES, fetch_simple
from data_collector.run import (
    CollectionRun,
)
from data_collector.task_builder import funding_task, klines_task, open_interest_task
from data_collector.url_builder import endpoint_table, listing_request
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.scripted import Scripted, error_of, failing, history, query_of, wire
from venues.errors import (
    BadPayload,
    Banned,
    ExchangeError,
    GaveUp,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.venue import Endpoint, Request

H1, H4 = HOUR_MS, 4 * HOUR_MS
AS_OF_MS = 1_795_185_441_250
MARKETS = {exchange: Market(exchange, "XUSDT", "X", "USDT") for exchange in Exchange}
BINANCE, BYBIT = MARKETS[Exchange.BINANCE], MARKETS[Exchange.BYBIT]
TIME = listing_request(Exchange.BYBIT, Endpoint.TIME)


@settings(max_examples=60, deadline=None)
@given(
    market=st.sampled_from([BINANCE, BYBIT]),
    candles=st.integers(1, 2500),
    holes=st.lists(st.tuples(st.integers(0, 2500), st.integers(1, 1200)), max_size=4),
    page=st.integers(100, 1500),
)
def test_all_rows_come_whatever_the_pages_hold(
    market: Market, candles: int, holes: list[tuple[int, int]], page: int
) -> None:
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=candles)
    missing = {task.start_ms + (first + n) * H1 for first, length in holes for n in range(length)}
    grid = range(task.start_ms - 5 * H1, task.end_ms + 1, H1)
    held = [time_ms for time_ms in grid if time_ms not in missing]
    sender = Scripted(history(held, lambda limit: page))
    rows = asyncio.run(fetch_klines(CollectionRun(sender), task))
    assert [row.open_time_ms for row in rows] == [at for at in held if at >= task.start_ms]


@settings(max_examples=30, deadline=None)
@given(
    market=st.sampled_from([BINANCE, BYBIT]),
    gaps=st.lists(st.sampled_from([1, 2, 4, 8]), min_size=0, max_size=600),
    page=st.integers(100, 1000),
    late=st.integers(0, 47),
    known=st.booleans(),
)
def test_all_settlements_come_whatever_their_spacing(
    market: Market, gaps: list[int], page: int, late: int, known: bool
) -> None:
    time_ms = AS_OF_MS - AS_OF_MS % (8 * HOUR_MS)
    held = [time_ms + late]
    for gap in gaps:
        time_ms -= gap * HOUR_MS
        held.append(time_ms + late)
    held.reverse()
    task = funding_task(
        market,
        start_ms=held[0] - HOUR_MS // 2,
        end_ms=AS_OF_MS,
        interval_hours=8 if known else 1,
    )
    sender = Scripted(history(held, lambda limit: page))
    rows = asyncio.run(fetch_funding(CollectionRun(sender), task))
    # A page that ends within the known interval of the end is taken for the last one.
    if market is BINANCE and known and len(rows) < len(held):
        assert rows[-1][0] > AS_OF_MS - 8 * HOUR_MS
        held = held[: len(rows)]
    assert [row[0] for row in rows] == held


@pytest.mark.parametrize(
    ("market", "timeframe", "candles", "requests"),
    [
        (BINANCE, Timeframe.H4, 499, 1),
        (BYBIT, Timeframe.H4, 499, 1),
        (BINANCE, Timeframe.H4, 5000, 11),
        (BYBIT, Timeframe.H4, 5000, 5),
    ],
)
async def test_as_many_candle_requests_as_the_window_needs(
    market: Market, timeframe: Timeframe, candles: int, requests: int
) -> None:
    task = klines_task(timeframe, market, as_of_ms=AS_OF_MS, history_candles=candles)
    held = range(task.start_ms, task.end_ms + 1, task.step_ms)
    run = CollectionRun(Scripted(history(held)))
    assert len(await fetch_klines(run, task)) == candles
    assert (run.requests, run.retries) == (requests, 0)


async def test_as_many_open_interest_requests_as_the_rows_need() -> None:
    counts = {}
    for market in (BINANCE, BYBIT):
        for timeframe in (Timeframe.H4, Timeframe.H12, Timeframe.H2):
            task = open_interest_task(timeframe, market, as_of_ms=AS_OF_MS, history_candles=499)
            assert task is not None
            run = CollectionRun(
                Scripted(history(range(task.start_ms, task.end_ms + 1, task.step_ms)))
            )
            rows = await fetch_open_interest(run, task)
            assert (rows[0][0], rows[-1][0]) == (task.start_ms, task.end_ms)
            counts[market.exchange, timeframe] = run.requests
    assert counts == {
        (Exchange.BINANCE, Timeframe.H4): 1,
        (Exchange.BINANCE, Timeframe.H12): 1,
        (Exchange.BINANCE, Timeframe.H2): 1,
        (Exchange.BYBIT, Timeframe.H4): 3,
        (Exchange.BYBIT, Timeframe.H12): 8,
        (Exchange.BYBIT, Timeframe.H2): 5,
    }


@settings(max_examples=100, deadline=None)
@given(
    market=st.sampled_from([BINANCE, BYBIT]),
    endpoint=st.sampled_from([Endpoint.KLINES, Endpoint.OPEN_INTEREST]),
    holes=st.sets(st.integers(0, 179), max_size=100),
    page=st.integers(20, 500),
    keeps_newest=st.booleans(),
)
def test_a_history_is_whole_whichever_end_a_short_page_lacks(
    market: Market, endpoint: Endpoint, holes: set[int], page: int, keeps_newest: bool
) -> None:
    tasks = {
        Endpoint.KLINES: klines_task(Timeframe.H4, market, as_of_ms=AS_OF_MS, history_candles=180),
        Endpoint.OPEN_INTEREST: open_interest_task(
            Timeframe.H4, market, as_of_ms=AS_OF_MS, history_candles=499
        ),
    }
    task = tasks[endpoint]
    assert task is not None
    grid = range(task.start_ms, task.end_ms + 1, H4)
    held = [time_ms for n, time_ms in enumerate(grid) if n not in holes]
    sender = Scripted(_cut(held, page, keeps_newest))
    fetch = fetch_klines if endpoint is Endpoint.KLINES else fetch_open_interest
    rows: Sequence[tuple[Any, ...]] = asyncio.run(fetch(CollectionRun(sender), task))
    assert [row[0] for row in rows] == held


def _cut(held: Sequence[int], page: int, keeps_newest: bool) -> Callable[[Request], bytes]:
    """An exchange that cuts its pages at one end, whatever its order."""

    def answer(request: Request) -> bytes:
        table, query = endpoint_table(request.exchange, request.endpoint), query_of(request)
        start_ms, end_ms = int(query[table.start]), int(query[table.end])
        inside = [time_ms for time_ms in held if start_ms <= time_ms <= end_ms]
        return wire(request, inside[-page:] if keeps_newest else inside[:page])

    return answer


@pytest.mark.parametrize("wanted", [None, 30])
async def test_the_newest_settlements_are_asked_for_before_there_are_enough(
    wanted: int | None,
) -> None:
    newest_ms = AS_OF_MS - AS_OF_MS % (8 * HOUR_MS)
    held = [newest_ms + 47 - n * 8 * HOUR_MS for n in range(100)][::-1]
    task = funding_task(BYBIT, start_ms=held[0], end_ms=AS_OF_MS, interval_hours=8, wanted=wanted)
    first = True

    def answer(request: Request) -> bytes:
        nonlocal first
        there, first = held[:-2] if first else held, False
        return history(there)(request)

    sender = Scripted(answer)
    rows = await fetch_funding(CollectionRun(sender), task)
    assert [row[0] for row in rows] == held
    assert len(sender.sent) == 3  # the rest, and what may lie between


@pytest.mark.parametrize("market", [BINANCE, BYBIT])
async def test_a_hole_at_the_end_costs_one_request(market: Market) -> None:
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=50)
    held = range(task.start_ms, task.end_ms + 1, H1)[:-10]
    run = CollectionRun(Scripted(history(held)))
    assert [row.open_time_ms for row in await fetch_klines(run, task)] == list(held)
    assert run.requests == 2


async def test_where_everybodys_open_interest_begins_is_learned_once() -> None:
    task = open_interest_task(Timeframe.H4, BINANCE, as_of_ms=AS_OF_MS, history_candles=499)
    assert task is not None
    held = range(task.start_ms + 3 * H4, task.end_ms + 1, H4)
    run = CollectionRun(Scripted(history(held)))
    for _ in range(50):
        assert [row[0] for row in await fetch_open_interest(run, task)] == list(held)
    assert run.requests == 50 + HISTORY_START_KNOWN_AFTER


async def test_late_open_interest_costs_no_second_request() -> None:
    as_of_ms = AS_OF_MS - AS_OF_MS % H4 + 30_000
    task = open_interest_task(Timeframe.H4, BINANCE, as_of_ms=as_of_ms, history_candles=100)
    assert task is not None
    run = CollectionRun(
        Scripted(history(range(task.start_ms, task.end_ms, H4)))
    )  # the newest is not out
    assert (await fetch_open_interest(run, task))[-1][0] == task.end_ms - H4
    assert run.requests == 1


async def test_only_as_many_settlements_as_wanted() -> None:
    held = range(0, AS_OF_MS, HOUR_MS)[-3000:]
    task = funding_task(BYBIT, start_ms=held[0], end_ms=AS_OF_MS, wanted=400)
    run = CollectionRun(Scripted(history(held)))
    assert [row[0] for row in await fetch_funding(run, task)] == list(held[-400:])
    assert run.requests == 2


@pytest.mark.parametrize("market", [BINANCE, BYBIT])
async def test_an_exchange_that_repeats_its_page_for_ever(market: Market) -> None:
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=2500)
    sender = Scripted(lambda request: wire(request, [task.start_ms + 2000 * H1]))
    with pytest.raises(BadPayload, match="rows outside of the requested window"):
        await fetch_klines(CollectionRun(sender), task)
    assert len(sender.sent) <= 2


@pytest.mark.parametrize("market", [BINANCE, BYBIT])
async def test_an_exchange_that_serves_one_row_at_a_time(market: Market) -> None:
    task = klines_task(Timeframe.H1, market, as_of_ms=AS_OF_MS, history_candles=2500)
    held = range(task.start_ms, task.end_ms + 1, H1)
    sender = Scripted(history(held, lambda limit: 1))
    with pytest.raises(BadPayload, match="paging did not end"):
        await fetch_klines(CollectionRun(sender), task)
    assert len(sender.sent) < 250


async def test_rows_outside_of_the_window_are_left_out() -> None:
    task = klines_task(Timeframe.H1, BINANCE, as_of_ms=AS_OF_MS, history_candles=3)
    around = range(task.start_ms - 3 * H1, task.end_ms + 3 * H1, H1)
    rows = await fetch_klines(CollectionRun(Scripted(lambda request: wire(request, around))), task)
    assert [row.open_time_ms for row in rows] == [task.start_ms + n * H1 for n in range(3)]


# --- tries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(TRIES))
async def test_what_may_help_is_tried_again(kind: type[ExchangeError]) -> None:
    run = CollectionRun(failing(*[error_of(kind)] * (TRIES[kind] - 1)))
    assert await fetch_simple(run, TIME, bytes.decode) == "fine"
    assert (run.requests, run.retries) == (TRIES[kind], TRIES[kind] - 1)


@pytest.mark.parametrize("kind", list(TRIES))
async def test_but_not_for_ever(kind: type[ExchangeError]) -> None:
    run = CollectionRun(failing(*[error_of(kind)] * 99))
    with pytest.raises(kind):
        await fetch_simple(run, TIME, bytes.decode)
    assert run.requests == TRIES[kind]


@pytest.mark.parametrize("kind", [SymbolGone, WindowRefused, Restricted, Banned, GaveUp])
async def test_what_cannot_help_is_not_tried(kind: type[ExchangeError]) -> None:
    run = CollectionRun(failing(error_of(kind)))
    with pytest.raises(kind):
        await fetch_simple(run, TIME, bytes.decode)
    assert (run.requests, run.retries) == (1, 0)


async def test_an_answer_that_cannot_be_parsed_is_asked_for_once_more() -> None:
    bodies = iter([b"<html>", b"fine"])
    sender = Scripted(lambda request: next(bodies))

    def parse(body: bytes) -> str:
        if body != b"fine":
            raise BadPayload("not JSON", exchange=Exchange.BYBIT)
        return body.decode()

    run = CollectionRun(sender)
    assert await fetch_simple(run, TIME, parse) == "fine"
    assert run.retries == sender.counts.retries == 1


async def test_slow_failures_end_sooner() -> None:
    sender = failing(*[error_of(SourceDown)] * 99)
    slow = sender.send

    async def hanging(request: Request, counts: RequestCounts) -> bytes:
        await sender.clock.sleep(10)
        return await slow(request, counts)

    sender.send = hanging  # type: ignore[method-assign]
    with pytest.raises(SourceDown):
        await fetch_simple(CollectionRun(sender), TIME, bytes.decode)
    assert len(sender.sent) == 3
    assert sender.clock.monotonic_s() <= 10 + RETRY_WITHIN_S + 10
