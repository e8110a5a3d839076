"""Which rows of an older document are carried over: those whose closing was seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from data_collector.closings import Closings
from data_collector.incremental import PreviousDocuments
from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Row, UnreadableSeries
from market.previous_series import SAMPLED_SERIES
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.in_memory import in_memory

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
NOON_MS = 1_700_049_600_000  # 2023-11-15 12:00 UTC
H1, H4, H8 = Timeframe.H1, Timeframe.H4, Timeframe.H8


def rows(*hours: int) -> list[Row]:
    """A row for each hour from noon on; each has its hour as its close."""
    return [
        (NOON_MS + hour * HOUR_MS, 1.0, 100.0, 0.5, 50.0 + hour, 1.0, 1.0, None, None)
        for hour in hours
    ]


def series(
    hours: Sequence[int],
    checked: float,
    *,
    exchange: Exchange = BINANCE,
    name: str = "A",
    stale: float | None = None,
) -> MarketSeries:
    market = Market(exchange, f"{name}USDT", name, "USDT")
    since_ms = None if stale is None else NOON_MS + round(stale * HOUR_MS)
    return MarketSeries(market, rows(*hours), NOON_MS + round(checked * HOUR_MS), since_ms)


def kept(as_of: float, ours: MarketSeries, *others: MarketSeries, timeframe: Any = H1) -> list[int]:
    """The hours of the rows that are carried over at `as_of`."""
    document = {each.market.key: each for each in (ours, *others)}
    before = PreviousDocuments(
        {timeframe: document},
        timeframe,
        as_of_ms=NOON_MS + round(as_of * HOUR_MS),
        history_candles=100,
    )
    return [(row[0] - NOON_MS) // HOUR_MS for row in before.rows(timeframe, ours.market)]


@pytest.mark.parametrize(
    ("hours", "checked", "as_of", "expected"),
    [
        ([0, 1, 2], 2.5, 2.9, [0, 1, 2]),  # still forming
        ([0, 1, 2], 2.5, 3.1, [0, 1]),  # it has closed since, and nobody knows as what
        ([0, 1, 2], 2.5, 9.0, [0, 1]),
        ([0, 1, 2], 1.5, 9.0, [0]),  # checked before its newest rows: they were not closed then
        # The clock was ahead, and is right now.
        ([0, 1, 2], 5.5, 2.9, [0, 1]),
        ([0, 1, 2], 5.5, 3.1, [0, 1]),
        ([0, 1, 5], 5.5, 2.9, [0, 1]),  # a row of a time that has not come
        # It was ahead, and its time has come: the candle of 5 o'clock had not begun.
        ([0, 1, 2], 5.5, 5.6, [0, 1]),
        ([0, 1, 2], 5.5, 30.0, [0, 1]),
        ([0, 1, 2], 3.0, 3.1, [0, 1]),
        ([2], 5.5, 5.6, []),
        ([], 5.5, 5.6, []),
    ],
)
def test_a_row_that_nobody_saw_closing_is_not_carried_over(
    hours: list[int], checked: float, as_of: float, expected: list[int]
) -> None:
    assert kept(as_of, series(hours, checked)) == expected


def test_a_silent_market_keeps_its_rows_where_others_show_that_they_had_closed() -> None:
    silent = series([0, 1, 2], 5.5)
    assert kept(5.6, silent, series([4, 5], 5.5, name="B")) == [0, 1, 2]
    assert kept(9.0, silent, series([4], 5.5, name="B"), series([5], 5.5, name="C")) == [0, 1, 2]
    for shows_nothing in (
        series([3, 4], 5.5, name="B"),  # it had not begun there either
        series([4, 5], 5.5, name="B", exchange=BYBIT),
        series([4, 5], 5.9, name="B"),  # fetched at another time
        series([], 5.5, name="B"),
    ):
        assert kept(5.6, silent, shows_nothing) == [0, 1]


def test_what_was_carried_over_loses_no_more() -> None:
    """Otherwise each run without an answer would take one row more."""
    assert kept(5.7, series([0, 1], 5.5, stale=5.6)) == [0, 1]
    assert kept(30.0, series([0, 1], 5.5, stale=5.6)) == [0, 1]
    assert kept(6.1, series([0, 1, 5], 5.5, stale=5.6)) == [0, 1]
    assert kept(5.4, series([0, 1, 2], 5.5, stale=5.6)) == [0, 1]  # by a clock ahead once more


def test_each_timeframe_shows_it_for_itself() -> None:
    """At 3:50 a clock says 4:10: the 4h candle looks closed, the 8h candle is forming anyway."""
    day_ms = NOON_MS - 12 * HOUR_MS
    four = series([-16, -12], 0)
    eight = series([-12], 0)
    at_ms = day_ms + 4 * HOUR_MS + 10 * MINUTE_MS
    fetched = {
        timeframe: {made.market.key: MarketSeries(made.market, made.rows, at_ms)}
        for timeframe, made in ((H4, four), (H8, eight))
    }
    before = PreviousDocuments(fetched, H4, as_of_ms=at_ms + HOUR_MS, history_candles=100)
    assert [row[0] for row in before.rows(H4, four.market)] == [day_ms - 4 * HOUR_MS]
    assert [row[0] for row in before.rows(H8, four.market)] == [day_ms]


class Counted(Mapping[str, MarketSeries]):
    """A document of many series that counts which are read; one of them is unreadable."""

    def __init__(self, count: int, last: MarketSeries) -> None:
        self.read: list[str] = []
        silent = [series([0], 5.5, name=f"N{number}") for number in range(count)]
        self._series = {each.market.key: each for each in (*silent, last)}

    def __getitem__(self, key: str) -> MarketSeries:
        self.read.append(key)
        if key == "binance:N0USDT":
            raise UnreadableSeries("cut off")
        return self._series[key]

    def __iter__(self) -> Any:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)


@pytest.mark.parametrize(("count", "expected"), [(SAMPLED_SERIES - 1, 2), (SAMPLED_SERIES, 1)])
def test_a_sample_is_searched_once(count: int, expected: int) -> None:
    document = Counted(count, series([5], 5.5, name="LAST"))
    as_of_ms = NOON_MS + 6 * HOUR_MS
    before = PreviousDocuments({H1: document}, H1, as_of_ms=as_of_ms, history_candles=100)
    ours = series([0, 1], 5.5)
    document._series[ours.market.key] = ours
    for _ in range(3):
        assert len(before.rows(H1, ours.market)) == expected
    assert len(document.read) == SAMPLED_SERIES + 3


def test_what_shows_it_may_have_been_replaced_by_the_run() -> None:
    """In memory a series is gone once the market is delivered anew."""
    silent, others = series([0, 1, 2], 5.5), [series([4, 5], 5.5, name=name) for name in "BC"]
    builder = DocumentBuilder(H1, "collected")
    for each in (silent, *others):
        builder.add(each, {})
    text = builder.finish(version=1, as_of_ms=silent.checked_at_ms, updated_at_ms=1, missing=())
    kept, documents = in_memory({H1: text})
    as_of_ms = NOON_MS + 9 * HOUR_MS
    before = PreviousDocuments(documents, H1, as_of_ms=as_of_ms, history_candles=100)
    anew = DocumentBuilder(H1, "collected", kept)
    for each in others:
        anew.add(each, {})
    assert list(documents[H1]) == [silent.market.key]
    assert len(before.rows(H1, silent.market)) == 3


def test_only_the_one_candle_that_was_forming_counts() -> None:
    """What is known of 5:30 says nothing of 6:30."""
    document = {each.market.key: each for each in (series([1], 5.5), series([5], 5.5, name="B"))}
    closings = Closings({H1: document}, lambda _, key: document[key])
    as_of_ms = NOON_MS + 9 * HOUR_MS
    assert len(closings.true_rows(H1, series([1], 5.5), as_of_ms)) == 1
    assert len(closings.true_rows(H1, series([1], 6.5), as_of_ms)) == 0
    assert len(closings.true_rows(H1, series([1], 5.5, exchange=BYBIT), as_of_ms)) == 0


def test_a_candle_that_a_stream_has_closed_shows_that_those_before_had_closed() -> None:
    """Nothing is known of the one that was forming then, as its first trade had not come."""
    document = {each.market.key: each for each in (series([1], 5.5),)}
    for closed_hours, rows in ((4.75, 0), (5, 1)):
        streamed_ms = {BINANCE: NOON_MS + int(closed_hours * HOUR_MS)}
        closings = Closings({H1: document}, lambda _, key: document[key], streamed_ms)
        as_of_ms = NOON_MS + 9 * HOUR_MS
        assert len(closings.true_rows(H1, series([1], 5.5), as_of_ms)) == rows
        assert len(closings.true_rows(H1, series([1], 5.5, exchange=BYBIT), as_of_ms)) == 0
