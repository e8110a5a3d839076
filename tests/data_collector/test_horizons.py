"""How far back an exchange serves is found in few requests; an odd market finds it for itself."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.fetch_strategies import fetch_funding, fetch_klines, fetch_open_interest
from data_collector.horizons import FAR_SHOWN_BY, SHOWN_BY
from data_collector.run import CollectionRun, work_through
from data_collector.task_builder import FetchTask, funding_task, klines_task, open_interest_task
from data_collector.url_builder import endpoint_table
from market.markets import Exchange, Market
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.scripted import Scripted, history, query_of
from venues.errors import ExchangeError, WindowRefused
from venues.venue import Endpoint, Request

H4 = 4 * HOUR_MS
AS_OF_MS = 1_795_185_441_250
LAUNCHED_MS = AS_OF_MS - 400 * DAY_MS


def _market(name: str) -> Market:
    return Market(Exchange.BINANCE, name, name, "USDT", LAUNCHED_MS)


def _task(name: str = "XUSDT", timeframe: Timeframe = Timeframe.H4) -> FetchTask:
    task = open_interest_task(timeframe, _market(name), as_of_ms=AS_OF_MS, history_candles=499)
    assert task is not None
    return task


def _exchange(kept_ms: Callable[[str, int], int], step_ms: int = H4) -> Callable[[Request], bytes]:
    """An exchange that refuses a start older than `kept_ms(symbol, number of the request)`."""
    numbers: Counter[str] = Counter()

    def answer(request: Request) -> bytes:
        symbol = request.symbol or ""
        numbers[""] += 1
        table = endpoint_table(request.exchange, request.endpoint)
        start_ms = int(query_of(request)[table.start])
        if start_ms < AS_OF_MS - kept_ms(symbol, numbers[""]):
            raise WindowRefused("-1130 startTime is invalid", exchange=request.exchange)
        floor_ms = AS_OF_MS - AS_OF_MS % step_ms
        grid = range(floor_ms - 1000 * step_ms, floor_ms + 1, step_ms)
        return history(grid)(request).replace(b"XUSDT", symbol.encode())

    return answer


def _expected(kept_ms: int, task: FetchTask) -> list[int]:
    oldest_ms = AS_OF_MS - kept_ms
    return [at for at in range(task.start_ms, task.end_ms + 1, H4) if at >= oldest_ms]


@pytest.mark.parametrize("days", [31.0, 30.0, 29.9, 28.0, 27.9, 27.5, 14.0, 7.0, 1.0, 0.2])
async def test_all_that_is_kept_comes_in_few_requests(days: float) -> None:
    kept_ms, task = round(days * DAY_MS), _task()
    sender = Scripted(_exchange(lambda symbol, number: kept_ms))
    rows = await fetch_open_interest(CollectionRun(sender), task)
    assert [row[0] for row in rows] == _expected(kept_ms, task)
    assert len(sender.sent) <= (1 if days >= 30 else 16)
    if days == 28.0:
        assert len(sender.sent) <= 10


@settings(max_examples=60, deadline=None)
@given(kept_ms=st.integers(H4, 32 * DAY_MS))
def test_any_horizon_is_found(kept_ms: int) -> None:
    task = _task()
    sender = Scripted(_exchange(lambda symbol, number: kept_ms))
    rows = asyncio.run(fetch_open_interest(CollectionRun(sender), task))
    assert [row[0] for row in rows] == _expected(kept_ms, task)
    assert len(sender.sent) <= 16


async def test_a_start_that_was_just_lost_costs_one_request() -> None:
    kept_ms = AS_OF_MS - _task().start_ms - 1
    sender = Scripted(_exchange(lambda symbol, number: kept_ms))
    rows = await fetch_open_interest(CollectionRun(sender), _task())
    assert rows[0][0] == _task().start_ms + H4
    assert len(sender.sent) == 2


async def test_a_market_that_is_refused_everything_costs_few_requests() -> None:
    sender = Scripted(_exchange(lambda symbol, number: -DAY_MS))
    with pytest.raises(WindowRefused):
        await fetch_open_interest(CollectionRun(sender), _task())
    assert len(sender.sent) == 4


async def _fetch_all(
    run: CollectionRun, names: list[str], workers: int = 5
) -> Mapping[str, list[int]]:
    fetched: dict[str, list[int]] = {}

    async def work(name: str) -> None:
        fetched[name] = [row[0] for row in await fetch_open_interest(run, _task(name))]

    def failed(name: str, error: ExchangeError) -> None:
        raise AssertionError(name, error)

    await work_through(run, names, lambda name: Exchange.BINANCE, work, failed, workers=workers)
    return fetched


NAMES = [f"A{n}USDT" for n in range(200)]


async def test_what_some_markets_show_the_others_are_not_asked_for() -> None:
    sender = Scripted(_exchange(lambda symbol, number: 28 * DAY_MS))
    fetched = await _fetch_all(CollectionRun(sender), NAMES)
    assert all(rows == _expected(28 * DAY_MS, _task()) for rows in fetched.values())
    # The first market's search, some to confirm it, and what was under way meanwhile.
    assert len(sender.sent) <= len(NAMES) + 30


async def test_a_horizon_far_from_the_expected_one_needs_more_markets_to_show_it() -> None:
    sender = Scripted(_exchange(lambda symbol, number: 3 * DAY_MS))
    fetched = await _fetch_all(CollectionRun(sender), NAMES)
    assert all(rows == _expected(3 * DAY_MS, _task()) for rows in fetched.values())
    # One search, then two requests for each of some, then one each.
    assert len(sender.sent) <= len(NAMES) + 15 + 3 * (FAR_SHOWN_BY + 5)


async def test_an_odd_market_cuts_nobody_elses_history() -> None:
    odd = set(NAMES[:10])  # they come first, and are many
    kept = {name: 3 * DAY_MS if name in odd else 28 * DAY_MS for name in NAMES}
    sender = Scripted(_exchange(lambda symbol, number: kept[symbol]))
    fetched = await _fetch_all(CollectionRun(sender), NAMES, workers=20)
    assert all(rows == _expected(kept[name], _task()) for name, rows in fetched.items())


async def test_odd_markets_among_markets_without_a_horizon() -> None:
    odd = set(NAMES[3:9])
    sender = Scripted(_exchange(lambda symbol, number: (3 if symbol in odd else 60) * DAY_MS))
    fetched = await _fetch_all(CollectionRun(sender), NAMES)
    for name, rows in fetched.items():
        assert rows == _expected((3 if name in odd else 60) * DAY_MS, _task()), name


async def test_a_horizon_that_moves_on_during_a_run() -> None:
    def kept_ms(symbol: str, number: int) -> int:
        return 28 * DAY_MS - (H4 if number > 100 else 0)

    sender = Scripted(_exchange(kept_ms))
    fetched = await _fetch_all(CollectionRun(sender), NAMES)
    lengths = Counter(map(len, fetched.values()))
    assert set(lengths) == {len(_expected(28 * DAY_MS, _task())) - n for n in (0, 1)}
    assert len(sender.sent) <= len(NAMES) + 60


async def test_another_run_asks_anew() -> None:
    sender = Scripted(_exchange(lambda symbol, number: (28 if number <= 60 else 60) * DAY_MS))
    await _fetch_all(CollectionRun(sender), NAMES[: SHOWN_BY + 5])
    assert len(sender.sent) <= 60
    sender.sent += sender.sent[:1] * (60 - len(sender.sent))
    again = Scripted(_exchange(lambda symbol, number: 60 * DAY_MS))
    fetched = await _fetch_all(CollectionRun(again), NAMES[:5])
    assert all(rows == _expected(60 * DAY_MS, _task()) for rows in fetched.values())
    assert len(again.sent) == 5


async def test_candles_and_settlements_that_are_refused_begin_later() -> None:
    market = _market("XUSDT")
    run = CollectionRun(Scripted(_exchange(lambda symbol, number: 28 * DAY_MS)))
    candles = klines_task(Timeframe.H4, market, as_of_ms=AS_OF_MS, history_candles=499)
    rows = await fetch_klines(run, candles)
    assert [row.open_time_ms for row in rows] == _expected(28 * DAY_MS, candles)
    start_ms = AS_OF_MS - 90 * DAY_MS
    settlements = funding_task(market, start_ms=start_ms, end_ms=AS_OF_MS)
    run = CollectionRun(Scripted(_exchange(lambda symbol, number: 28 * DAY_MS)))
    funding = await fetch_funding(run, settlements)
    assert AS_OF_MS - 28 * DAY_MS <= funding[0][0] <= AS_OF_MS - 28 * DAY_MS + 2 * 8 * HOUR_MS
    assert run.horizons.served(settlements).start_ms >= AS_OF_MS - 28 * DAY_MS
    assert Endpoint.FUNDING is settlements.endpoint
