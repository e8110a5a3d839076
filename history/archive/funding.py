"""Settlements of the archive: files of fundingRate.

`calc_time,funding_interval_hours,last_funding_rate`, one line a settlement; calc_time may be some
milliseconds late, as the exchange's API has it.
"""

from typing import Final

import numpy as np

from history.archive.errors import Refusals
from history.archive.names import ArchiveName
from history.archive.numbers import read_numbers, settled
from history.archive.rows import (
    UNIT_TEXT,
    ArchiveRows,
    check_plausible,
    milliseconds,
    refuse,
    refuse_outside,
)
from market.timeframes import MINUTE_MS

COLUMNS: Final = ("calc_time", "funding_interval_hours", "last_funding_rate")
_MOST_RATE: Final = 1.0  # of the position, at once; the exchange's caps are at 0.03


def read_funding(text: bytes, name: ArchiveName, now_ms: int) -> ArchiveRows:
    """The settlements of the file, with the exchange's own times. Raises ArchiveError."""
    refusals = Refusals()
    table = read_numbers(text, COLUMNS, ("calc_time", "last_funding_rate"), refusals)
    values, lines = table.values[:, 1:], table.lines
    kept = np.ones(len(lines), np.bool_)
    times, in_unit = milliseconds(table.values[:, 0])
    refuse(refusals, kept, ~in_unit, lines, f"its calc_time {UNIT_TEXT}")
    plausible = np.abs(values[:, 0]) <= _MOST_RATE  # nor NaN
    refuse(refusals, kept, ~plausible, lines, f"its rate is no number of at most {_MOST_RATE:g}")
    refuse_outside(refusals, kept, times, lines, name.from_ms, name.to_ms)
    refuse(refusals, kept, times > now_ms, lines, "its calc_time has not come")
    check_plausible(int(kept.sum()), refusals)
    times, values = times[kept], values[kept]
    # Two times within a minute are one settlement.
    which, doubled = settled(times - times % MINUTE_MS, values, lines[kept], refusals)
    return ArchiveRows(name.key, times[which], values[which], refusals, doubled)
