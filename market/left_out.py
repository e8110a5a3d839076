"""Invalid rows that an exchange sent: why each is left out, and how `missing` tells it.

A document names them in its `missing` as text, from which the next run reads them again, so that
what was told stays told while it lies in the window.
"""

import re
from collections.abc import Collection, Container, Iterable, Sequence
from typing import Final, NamedTuple

from texts.foreign import foreign_text

# Rows named for one market and part; the others, the oldest, are only counted.
MOST_NAMED: Final = 20
# Characters of a reason: it may quote what the exchange sent.
_LONGEST_REASON: Final = 120
_ONE: Final = re.compile(r"row (at|after) (-?[0-9]{1,15}) left out: (.{1,200})", re.DOTALL)
_MORE: Final = re.compile(r"and ([0-9]{1,9}) more, up to (-?[0-9]{1,15})")


class LeftOut(NamedTuple):
    """A row that is left out. `after`: its own time cannot be read, `time_ms` is the row before's.

    `rows`: more than one in the entry that counts those that are not named; the newest of them is
    at `time_ms`.
    """

    time_ms: int
    reason: str
    after: bool = False
    rows: int = 1

    def slot_ms(self, interval_ms: int) -> int:
        """The instant of the grid that lacks the row."""
        floor_ms = self.time_ms - self.time_ms % interval_ms
        return floor_ms + interval_ms if self.after else floor_ms

    def text(self) -> str:
        """The reason for `missing`; read_left_out reads it."""
        if not self.reason:
            return f"and {self.rows} more, up to {self.time_ms}"
        place = "after" if self.after else "at"
        return f"row {place} {self.time_ms} left out: {foreign_text(self.reason, _LONGEST_REASON)}"


def read_left_out(reason: str) -> LeftOut | None:
    """The row that a reason in `missing` tells of; None for a reason of another kind."""
    if found := _ONE.fullmatch(reason):
        return LeftOut(int(found[2]), found[3], found[1] == "after")
    if found := _MORE.fullmatch(reason):
        return LeftOut(int(found[2]), "", rows=int(found[1]))
    return None


def still_lacking(
    told: Iterable[LeftOut], lacking: Collection[int], there: Container[int], interval_ms: int
) -> list[LeftOut]:
    """The rows told of before whose instants have not come since.

    `lacking`: the instants without a row, `there`: those that have one. A row off the grid may
    have been of the instant before it or after it.
    """

    def lacks(row: LeftOut) -> bool:
        if not row.reason:
            return any(instant <= row.time_ms for instant in lacking)
        slot_ms = row.slot_ms(interval_ms)
        off_grid = not row.after and row.time_ms != slot_ms
        return slot_ms not in there or (off_grid and slot_ms + interval_ms not in there)

    return [row for row in told if lacks(row)]


def not_asked_again(
    told: Iterable[LeftOut], found: Sequence[LeftOut], begin_ms: int, interval_ms: int
) -> list[LeftOut]:
    """The rows told of before that lie before `begin_ms`, from where on `found` were left out now.

    Of those that were only counted, some may be among the found.
    """
    told = list(told)
    still = [row for row in told if row.slot_ms(interval_ms) < begin_ms]
    for row in told:
        if not row.reason and row not in still:
            others = row.rows - sum(new.time_ms <= row.time_ms for new in found)
            if others > 0:
                still.append(LeftOut(begin_ms - interval_ms, "", rows=others))
    return still


def at_most_named(rows: Iterable[LeftOut]) -> list[LeftOut]:
    """The newest MOST_NAMED rows, ascending, and before them one entry that counts the others."""
    singles, more = {}, []
    for row in rows:
        if row.reason:
            singles[row.time_ms, row.after] = row
        else:
            more.append(row)
    ordered = sorted(singles.values())
    more += ordered[:-MOST_NAMED]
    named = ordered[-MOST_NAMED:]
    if more:
        newest_ms, count = max(row.time_ms for row in more), sum(row.rows for row in more)
        named.insert(0, LeftOut(newest_ms, "", rows=count))
    return named
