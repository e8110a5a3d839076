"""Candles of the archive: files of klines.

`open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,
taker_buy_quote_volume,ignore`, one line a candle, since about 2022-05 with that header.
"""

from typing import Final

import numpy as np

from history.archive.errors import ArchiveError, Refusals
from history.archive.names import ArchiveName
from history.archive.numbers import read_numbers, settled
from history.archive.rows import (
    UNIT_TEXT,
    ArchiveRows,
    Flags,
    check_plausible,
    milliseconds,
    refuse,
    refuse_outside,
)
from market.rows import Floats, Times
from market.timeframes import HOUR_MS

COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_WANTED: Final = (*COLUMNS[1:6], "quote_volume", "open_time", "close_time")
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TURNOVER = range(6)
# A contract settles at 09:00 UTC and its file goes on with flat candles; a market that trades has
# not been without a trade for so long.
_SETTLED_MS: Final = 12 * HOUR_MS


def read_klines(text: bytes, name: ArchiveName, now_ms: int) -> ArchiveRows:
    """The candles of the file that had closed by now. Raises ArchiveError."""
    key, refusals = name.key, Refusals()
    step_ms = key.interval_ms
    table = read_numbers(text, COLUMNS, _WANTED, refusals)
    values, lines = table.values[:, :6], table.lines
    kept = np.ones(len(lines), np.bool_)
    times, in_unit = milliseconds(table.values[:, 6])
    refuse(refusals, kept, ~in_unit, lines, f"its open_time {UNIT_TEXT}")
    off_grid = (times % step_ms != 0) | (table.values[:, 6] > 10**15) & (
        table.values[:, 6] % 1000 != 0
    )
    refuse(refusals, kept, off_grid, lines, f"its open_time is not on the grid of {name.timeframe}")
    closes, in_unit = milliseconds(table.values[:, 7])
    wrong = ~in_unit | (closes != times + step_ms - 1)
    refuse(refusals, kept, wrong, lines, f"its close_time is not that of a {name.timeframe} candle")
    refuse(refusals, kept, ~_is_candle(values), lines, "its numbers are those of no candle")
    refuse_outside(refusals, kept, times, lines, name.from_ms, name.to_ms)
    check_plausible(int(kept.sum()), refusals)
    _check_traded(values[kept])
    times, values = times[kept], values[kept]
    which, doubled = settled(times, values, lines[kept], refusals)
    rows = ArchiveRows(key, times[which], values[which], refusals, doubled)
    closed = rows.times + step_ms <= now_ms
    rows.forming = int((~closed).sum())
    rows.select(closed)
    end_ms = min(name.to_ms, now_ms - now_ms % step_ms)
    rows.after_end = _flat_rows_at_the_end(rows.times, rows.values, end_ms, step_ms)
    if rows.after_end:
        rows.select(np.arange(len(rows.times)) < len(rows.times) - rows.after_end)
        rows.notes.append(
            f"{rows.after_end} flat candles without a trade at its end were left out: the contract"
            " was settled"
        )
    expected = max(0, end_ms - name.from_ms) // step_ms
    rows.lacking = max(0, expected - len(rows.times) - rows.after_end)
    return rows


def _is_candle(values: Floats) -> Flags:
    """Which rows are candles: prices in order, nothing negative; NaN and infinity are not."""
    opened, high, low, close = (values[:, column] for column in (_OPEN, _HIGH, _LOW, _CLOSE))
    found: Flags = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (low > 0)
    found &= (low <= np.minimum(opened, close)) & (high >= np.maximum(opened, close))
    return found


def _check_traded(values: Floats) -> None:
    """Raises ArchiveError for candles of a price without trades: mark or index prices."""
    moves = values[:, _HIGH] > values[:, _LOW]
    if len(values) > 1 and not values[:, (_VOLUME, _TURNOVER)].any() and bool(moves.all()):
        raise ArchiveError(
            "its prices move and nothing is traded: they are mark or index prices, which are not"
            " imported"
        )


def _flat_rows_at_the_end(times: Times, values: Floats, end_ms: int, step_ms: int) -> int:
    """How many candles at the end of the span stand still at the last close, if for long."""
    if not len(times) or times[-1] + step_ms != end_ms:
        return 0
    last = values[-1, _CLOSE]
    still = (values[:, :4] == last).all(axis=1) & (values[:, (_VOLUME, _TURNOVER)] == 0).all(axis=1)
    moved = np.flatnonzero(~still)
    begin = int(moved[-1]) + 1 if len(moved) else 0
    if begin == len(times) or end_ms - times[begin] < _SETTLED_MS:
        return 0
    return len(times) - begin
