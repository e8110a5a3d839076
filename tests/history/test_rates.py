"""Funding rates of stored candles: those of documents; none where a settlement is lacking."""

import numpy as np
import pytest

from data_collector.data_processing import merge_data
from history.rates import put_rates
from history.selection import MarketName
from market.candles import Candle
from market.markets import Exchange, FundingSeries, Market
from market.rows import TimedValues
from market.timeframes import HOUR_MS, Timeframe

MIDNIGHT = 1_767_225_600_000
BTC = MarketName("binance", "BTCUSDT")


def settled(*hours: float, late_ms: int = 0) -> TimedValues:
    """Settlements at these hours after midnight; each rate is its hour."""
    return TimedValues.of([(MIDNIGHT + round(h * HOUR_MS) + late_ms, float(h)) for h in hours])


def rates(series: TimedValues, opens: list[int], timeframe: Timeframe) -> list[float | None]:
    times = np.array([MIDNIGHT + hour * HOUR_MS for hour in opens], np.int64)
    column = np.full(len(times), np.nan)
    put_rates(series, BTC, times, column, timeframe.interval_ms)
    return [None if np.isnan(rate) else rate for rate in column.tolist()]


@pytest.mark.parametrize(
    ("hours", "opens", "expected"),
    [
        # A settlement at a candle's end belongs to the next one.
        ((0, 8, 16), [0, 4, 7, 8, 15, 16], [0, 0, 0, 8, 8, 16]),
        # Before the first settlement, and once another is due.
        ((0, 8, 16), [-1, 23, 24, 48], [None, 16, None, None]),
        # One is lacking: none of its time has a rate, be it by 8 hours, 4 or 1.
        ((0, 8, 24, 32), [8, 15, 16, 23, 24], [8, 8, None, None, 24]),
        ((0, 4, 8, 16, 20), [8, 11, 12, 15, 16], [8, 8, None, None, 16]),
        ((0, 1, 2, 5, 6), [2, 3, 4, 5], [2, None, None, 5]),
        # The interval changes: nothing is lacking.
        ((0, 8, 16, 20, 24), [8, 15, 16, 19, 20], [8, 8, 16, 16, 20]),
        ((0, 4, 8, 16, 24), [4, 8, 12, 15, 16], [4, 8, 8, 8, 16]),
        # The last known distance tells when the next one is due.
        ((8, 12), [12, 15, 16], [12, 12, None]),
        ((8,), [8, 15, 16], [8, 8, None]),
        ((), [0], [None]),
    ],
)
def test_rates_of_hours(
    hours: tuple[int, ...], opens: list[int], expected: list[int | None]
) -> None:
    assert rates(settled(*hours), opens, Timeframe.H1) == expected
    assert rates(settled(*hours, late_ms=7), opens, Timeframe.H1) == expected


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_rates_are_those_of_the_documents(timeframe: Timeframe) -> None:
    """The collector merges settlements of which it knows until when they are complete."""
    series = settled(*range(-48, 24, 8), late_ms=3)
    as_of_ms = MIDNIGHT + 20 * HOUR_MS
    first_ms = timeframe.floor(MIDNIGHT - 24 * HOUR_MS)
    opens = list(range(first_ms, as_of_ms - timeframe.interval_ms + 1, timeframe.interval_ms))
    market = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
    document = merge_data(
        [Candle(open_ms, 1.0, 1.0, 1.0, 1.0, "1", "1") for open_ms in opens],
        [],
        FundingSeries(market, series, 8, as_of_ms),
        timeframe=timeframe,
        as_of_ms=as_of_ms,
        history_candles=5000,
    )
    column = np.full(len(opens), np.nan)
    put_rates(series, BTC, np.array(opens, np.int64), column, timeframe.interval_ms)
    expected = [None if np.isnan(rate) else rate for rate in column.tolist()]
    assert [row[-1] for row in document.rows] == expected
    assert None not in expected
