"""Which window of what is fetched: as long as the document's, never longer than is kept."""

from dataclasses import replace

import pytest

from data_collector.task_builder import (
    build_tasks,
    funding_task,
    klines_task,
    open_interest_task,
)
from data_collector.url_builder import endpoint_table
from market.markets import Exchange, Market
from market.timeframes import COLLECTED, DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from venues.venue import Endpoint

H4 = 4 * HOUR_MS
BINANCE = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
BYBIT = Market(Exchange.BYBIT, "BTCUSDT", "BTC", "USDT")
# 2026-11-20 14:37:21.250 UTC
AS_OF_MS = 1_795_185_441_250
MIDNIGHT_MS = AS_OF_MS - AS_OF_MS % DAY_MS


def test_candles_of_the_whole_window() -> None:
    task = klines_task(Timeframe.H4, BYBIT, as_of_ms=AS_OF_MS, history_candles=499)
    assert task.end_ms == MIDNIGHT_MS + 3 * H4
    assert task.start_ms == task.end_ms - 498 * H4
    assert task.slots(task.start_ms, task.end_ms) == 499


def test_open_interest_that_is_published_too_seldom_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 5m candle finds no snapshot of its own among those of 15m."""
    table = replace(endpoint_table(Exchange.BINANCE, Endpoint.OPEN_INTEREST), periods={"15m": "x"})
    monkeypatch.setattr("data_collector.url_builder.endpoint_table", lambda *_: table)
    asked = [
        open_interest_task(timeframe, BINANCE, as_of_ms=AS_OF_MS, history_candles=9)
        for timeframe in (Timeframe.M5, Timeframe.M30)
    ]
    assert [task and task.period for task in asked] == [None, Timeframe.M15]


def test_open_interest_of_binance_begins_within_thirty_days() -> None:
    for timeframe in COLLECTED:
        task = open_interest_task(timeframe, BINANCE, as_of_ms=AS_OF_MS, history_candles=499)
        if timeframe.interval_ms < 5 * MINUTE_MS:
            assert task is None  # it is published every five minutes
            continue
        assert task is not None
        assert task.start_ms >= AS_OF_MS - 30 * DAY_MS
        assert task.start_ms % timeframe.interval_ms == 0
        window_ms = timeframe.window_start(AS_OF_MS, 499)
        # Not later than need be either.
        assert task.start_ms - timeframe.interval_ms < max(window_ms, AS_OF_MS - 30 * DAY_MS)


def test_a_refused_start_is_narrowed_by_one_candle() -> None:
    task = open_interest_task(Timeframe.H4, BINANCE, as_of_ms=AS_OF_MS, history_candles=499)
    assert task is not None
    narrower = task.narrowed()
    assert narrower is not None
    assert (narrower.start_ms, narrower.end_ms) == (task.start_ms + H4, task.end_ms)
    only = open_interest_task(Timeframe.H4, BINANCE, as_of_ms=AS_OF_MS, history_candles=1)
    assert only is not None
    assert only.narrowed() is None


def test_open_interest_of_bybit_on_a_finer_grid() -> None:
    task = open_interest_task(Timeframe.H12, BYBIT, as_of_ms=AS_OF_MS, history_candles=499)
    assert task is not None
    assert (task.period, task.step_ms) == (Timeframe.H4, H4)
    assert task.start_ms == Timeframe.H12.window_start(AS_OF_MS, 499)
    assert task.end_ms == MIDNIGHT_MS + 12 * HOUR_MS


def test_a_snapshot_that_may_not_be_out_yet_is_not_waited_for() -> None:
    def newest(as_of_ms: int) -> int:
        task = open_interest_task(Timeframe.H1, BINANCE, as_of_ms=as_of_ms, history_candles=10)
        assert task is not None
        assert task.end_ms == Timeframe.H1.floor(as_of_ms)
        return task.newest_ms - task.end_ms

    assert newest(MIDNIGHT_MS + MINUTE_MS) == -HOUR_MS
    assert newest(MIDNIGHT_MS + 4 * MINUTE_MS - 1) == -HOUR_MS
    assert newest(MIDNIGHT_MS + 4 * MINUTE_MS) == 0


def test_pages_are_as_long_as_their_limit() -> None:
    task = klines_task(Timeframe.H4, BINANCE, as_of_ms=AS_OF_MS, history_candles=1200)
    end_ms, limit = task.page(task.start_ms, task.end_ms, 499)
    assert (limit, end_ms) == (499, task.start_ms + 498 * H4)
    end_ms, limit = task.page(task.start_ms + 998 * H4, task.end_ms, 499)
    assert (limit, end_ms) == (202, task.end_ms)


def test_when_settlements_are_complete() -> None:
    task = funding_task(BINANCE, start_ms=0, end_ms=AS_OF_MS, interval_hours=8)
    assert task.complete_after(MIDNIGHT_MS + 8 * HOUR_MS + 47)
    assert not task.complete_after(MIDNIGHT_MS + 47)
    unknown = funding_task(BINANCE, start_ms=0, end_ms=AS_OF_MS)
    assert not unknown.complete_after(MIDNIGHT_MS + 8 * HOUR_MS)
    assert unknown.complete_after(MIDNIGHT_MS + 14 * HOUR_MS + 5)
    for end_ms, complete in ((-1, True), (0, False), (10, False)):
        at_the_end = funding_task(
            BINANCE, start_ms=0, end_ms=MIDNIGHT_MS + 8 * HOUR_MS + end_ms, interval_hours=8
        )
        assert at_the_end.complete_after(MIDNIGHT_MS + 47) is complete


def test_settlements_are_never_asked_for_from_before_1970() -> None:
    assert funding_task(BINANCE, start_ms=-5, end_ms=AS_OF_MS).start_ms == 0


def test_what_a_page_may_lack_before_its_oldest_row() -> None:
    launched_ms = MIDNIGHT_MS + 4 * HOUR_MS + 5  # inside of the candle of 4:00
    young = replace(BINANCE, launched_ms=launched_ms)
    task = klines_task(Timeframe.H4, young, as_of_ms=AS_OF_MS, history_candles=499)
    first_ms = MIDNIGHT_MS + H4
    assert not task.may_lack_before(first_ms, task.start_ms)
    assert task.may_lack_before(first_ms + H4, task.start_ms)
    assert not task.may_lack_before(first_ms + H4, first_ms + H4)
    settlements = funding_task(young, start_ms=0, end_ms=AS_OF_MS)
    assert not settlements.may_lack_before(AS_OF_MS, 0)


def test_a_task_from_a_later_start_on() -> None:
    task = klines_task(Timeframe.H4, BYBIT, as_of_ms=AS_OF_MS, history_candles=499)
    last = task.since(task.end_ms)
    assert last is not None
    assert (last.start_ms, last.end_ms) == (task.end_ms, task.end_ms)
    assert task.since(task.end_ms + 1) is None
    assert task.since(task.start_ms - H4) == task


@pytest.mark.parametrize("with_funding", [True, False])
def test_no_funding_task_where_funding_is_handed_in(with_funding: bool) -> None:
    tasks = build_tasks(
        Timeframe.H4,
        [BINANCE, BYBIT],
        as_of_ms=AS_OF_MS,
        history_candles=499,
        with_funding=with_funding,
        funding_history=400,
    )
    assert [task.market for task in tasks] == [BINANCE, BYBIT]
    for task in tasks:
        assert task.klines.endpoint is Endpoint.KLINES
        assert (task.funding is not None) is with_funding
        assert task.count == 2 + with_funding


def test_funding_reaches_back_to_the_settlement_before_the_window() -> None:
    (task,) = build_tasks(
        Timeframe.H1,
        [BYBIT],
        as_of_ms=AS_OF_MS,
        history_candles=100,
        with_funding=True,
        funding_history=400,
    )
    assert task.funding is not None
    assert task.funding.start_ms == Timeframe.H1.window_start(AS_OF_MS, 100) - 8 * HOUR_MS
    assert task.funding.end_ms == AS_OF_MS
    assert task.funding.wanted == 400
    (task,) = build_tasks(
        Timeframe.H1,
        [BYBIT],
        as_of_ms=AS_OF_MS,
        history_candles=100,
        with_funding=True,
        funding_history=2,
    )
    assert task.funding is not None
    assert task.funding.start_ms == AS_OF_MS - 16 * HOUR_MS  # no further back than is kept
    assert task.funding.wanted == 2
