"""ArchiveRows: the rows that one archive file holds, with what was left out of it and why."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from database import SeriesKey
from history.archive.errors import ArchiveError, Refusals
from market.rows import Floats, Times
from timing.clock import utc_text

Flags = npt.NDArray[np.bool_]
Lines = npt.NDArray[np.int64]

_MS: Final = (10**12, 10**13)  # 13 digits: 2001 to 2286
_MICROSECONDS: Final = (10**15, 10**16)  # 16 digits
UNIT_TEXT: Final = "is neither milliseconds (13 digits) nor microseconds (16 digits)"


@dataclass(slots=True)
class ArchiveRows:
    """The rows of a file: `times` (n) ascend on the grid, `values` (n, width) as the record has
    them; no row is still forming.

    `doubled`: exact doubles that were dropped. `zeros`: of open interest, which say that there is
    none. `after_end`: rows after a contract's settlement. `forming`: candles that had not closed.
    `lacking`: instants of the span, up to now, without a row. `notes`: what else is to be told.
    """

    key: SeriesKey
    times: Times
    values: Floats
    refusals: Refusals
    doubled: int = 0
    zeros: int = 0
    after_end: int = 0
    forming: int = 0
    lacking: int = 0
    notes: list[str] = field(default_factory=list)

    def select(self, kept: Flags) -> None:
        self.times, self.values = self.times[kept], self.values[kept]


def milliseconds(stamps: Floats) -> tuple[Times, Flags]:
    """Stamps of 13 or 16 digits in ms, and which of them are such."""
    whole = stamps == np.floor(stamps)
    in_ms = whole & (stamps >= _MS[0]) & (stamps < _MS[1])
    in_microseconds = whole & (stamps >= _MICROSECONDS[0]) & (stamps < _MICROSECONDS[1])
    there = in_ms | in_microseconds
    found = np.where(there, stamps, 0).astype(np.int64)
    return np.where(in_microseconds, found // 1000, found), there


def refuse(refusals: Refusals, kept: Flags, wrong: Flags, lines: Lines, cause: str) -> None:
    """Takes the wrong ones out of `kept` in place, and notes the line of each."""
    for line in lines[kept & wrong].tolist():
        refusals.add(line, cause)
    kept &= ~wrong


def refuse_outside(
    refusals: Refusals, kept: Flags, times: Times, lines: Lines, from_ms: int, to_ms: int
) -> None:
    """Refuses the rows whose time the file's name does not span."""
    outside = kept & ((times < from_ms) | (times >= to_ms))
    for line, time_ms in zip(lines[outside].tolist(), times[outside].tolist(), strict=True):
        refusals.add(line, f"{utc_text(time_ms)} is outside of what the file's name says")
    kept &= ~outside


def check_plausible(rows: int, refusals: Refusals) -> None:
    """Raises ArchiveError if most lines are refused: the file is another than its name says."""
    if refusals.count > rows:
        first = min(refusals.first)
        raise ArchiveError(f"{refusals.count} of its lines cannot be used, the first is {first}")
