"""Compares the candles of a base that streams have closed with those that REST shows."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from data_collector.stream_reader import StreamReader
from market.base import FINAL_AFTER_MS, STEP_MS, Base
from market.columns import SUMMED, column_index
from market.markets import Market
from market.rows import Floats, Rows, are_same_candles, candle_values, located

_HIGH, _LOW = column_index("high"), column_index("low")


def shows_more(candles: Floats, others: Floats) -> npt.NDArray[np.bool_]:
    """Which candles have more volume or turnover, or a wider range, than the others; lines of the
    columns of candles, NaN without one."""
    more = (candles[:, SUMMED] > others[:, SUMMED]).any(axis=1)
    found: npt.NDArray[np.bool_] = (
        more | (candles[:, _HIGH] > others[:, _HIGH]) | (candles[:, _LOW] < others[:, _LOW])
    )
    return found


def compare_with_rest(
    reader: StreamReader,
    market: Market,
    base: Base,
    shown: Rows,
    *,
    first_ms: int,
    as_of_ms: int,
    invalid: Collection[int] = (),
) -> list[int]:
    """The open times of candles of streams that REST shows with other values, or lacks.

    `base`: as it was before REST was asked at `as_of_ms`; `shown`: all 5m candles of REST from
    `first_ms` on; `invalid`: open times of rows that could not be read. Those that may still change
    are not compared. The reader is told how many were, and of each that differs.
    """
    final_ms = as_of_ms - FINAL_AFTER_MS - STEP_MS
    lines = np.flatnonzero(base.streamed & (base.times >= first_ms) & (base.times <= final_ms))
    times = base.times[lines]
    if invalid:
        valid = ~np.isin(times, list(invalid))
        lines, times = lines[valid], times[valid]
    if not len(times):
        return []
    there, places = located(times, shown.times)
    same = there.copy()
    ours, theirs = base.values[lines[there]], shown.values[places[there]]
    same[there] = are_same_candles(candle_values(ours), candle_values(theirs))
    reader.compared(market, len(times))
    found: list[int] = times[~same].tolist()
    for open_ms in found:
        reader.differs(market, open_ms)
    return found
