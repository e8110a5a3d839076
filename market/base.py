"""The base of one market: its 5m candles and snapshots of 26 hours, and when each was read.

Every 5m instant from the first to the one that holds `as_of` has a slot, with a candle or without.
What a slot shows was read at `read_ms`; a candle was seen closed if that is not before its close.
This alone proves a base: there is no mark beside the slots that could be set without them. A hole
of the exchange is no proof: a longer candle over it is asked for natively.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from market.candles import Candle, Candles
from market.columns import (
    CANDLE,
    CANDLE_TRADES,
    CANDLE_WIDTH,
    SUMMED,
    TRADES,
    column_index,
    width_of,
)
from market.decimal_sums import RunningSums, lost_digits
from market.rows import Floats, Rows, TimedValues, Times, stacked, widened
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe

STEP_MS: Final = Timeframe.M5.interval_ms
REACH_MS: Final = 26 * HOUR_MS
# How long a closed candle may still change: one read earlier is provisional, and is read again.
FINAL_AFTER_MS: Final = MINUTE_MS
# A base of this age is not read again as long as no candle has closed.
FRESH_MS: Final = MINUTE_MS
# A snapshot unpublished for longer does not come any more.
LATE_INTEREST_MS: Final = HOUR_MS
# The first slot moves in such steps, so that stored parts of 64 rows stay as they are.
_BLOCK_MS: Final = 64 * STEP_MS
_OPEN: Final = column_index("open")
_INTEREST: Final = column_index("open_interest")

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Base:
    """The slots of one market from `first_ms` on, without a gap; the last one holds `as_of_ms`.

    `values`: a line of Rows for each slot, narrow or wide, NaN where there is no candle or no
    snapshot, and no funding rate. `read_ms`: the `as_of` of the pass that found the slot as it is,
    the first that did so after it was final; 0: never read. `lost`: the digits of a summed column
    are more than its float tells. `interest_ms`: the `as_of` of the last pass that got its open
    interest. `streamed`: its candle is a proven one of a stream, final from its close on.
    """

    first_ms: int
    values: Floats
    read_ms: Times
    lost: Flags
    as_of_ms: int
    interest_ms: int = 0
    streamed: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        if len(self.streamed) != len(self.values):
            object.__setattr__(self, "streamed", np.zeros(len(self.values), np.bool_))

    @cached_property
    def times(self) -> Times:
        return self.first_ms + STEP_MS * np.arange(len(self.values))

    @property
    def newest_ms(self) -> int:
        return self.first_ms + STEP_MS * (len(self.values) - 1)

    @cached_property
    def there(self) -> Flags:
        """Which slots have a candle."""
        return ~np.isnan(self.values[:, _OPEN])

    @cached_property
    def known(self) -> Flags:
        """The slots of which nothing is unknown: read after their close, the last one after its
        beginning."""
        known = self.read_ms >= self.times + STEP_MS
        known[-1] = self.read_ms[-1] >= self.newest_ms
        return known

    @cached_property
    def settled(self) -> Flags:
        """The slots that were final when they were read."""
        return self.streamed | (self.read_ms >= self.times + STEP_MS + FINAL_AFTER_MS)

    @cached_property
    def usable(self) -> Flags:
        """The slots of which longer candles are made: known, with a candle whose digits are all
        there. The last one may have none yet."""
        usable = self.known & self.there & ~self.lost
        usable[-1] = self.known[-1] and not self.lost[-1]
        return usable

    @cached_property
    def sums(self) -> RunningSums:
        """The sums of volumes and turnovers of any slots that have candles."""
        return RunningSums(self.values[:, SUMMED])

    @cached_property
    def trade_sums(self) -> RunningSums:
        """The same of what a wide base tells of trades."""
        return RunningSums(self.values[:, TRADES], nullable=True)

    @property
    def is_wide(self) -> bool:
        """Whether it tells of trades."""
        return len(self.values.T) > width_of(False)

    def fitted(self, trade_columns: bool) -> "Base":
        """This base without what it tells of trades, unless that is wanted."""
        if trade_columns or not self.is_wide:
            return self
        return replace(self, values=np.ascontiguousarray(self.values[:, : width_of(False)]))

    @property
    def rows(self) -> Rows:
        """The candles, with their open interest."""
        there = np.flatnonzero(self.there)
        return Rows(self.times[there], self.values[there])

    @property
    def snapshots(self) -> TimedValues:
        """The known open interest, that of instants without a candle included."""
        known = np.flatnonzero(~np.isnan(self.values[:, _INTEREST]))
        return TimedValues(self.times[known], self.values[known, _INTEREST, None])

    def proven_until_ms(self, first_ms: int) -> int:
        """The instant up to which every candle from `first_ms` on (on the grid) was seen closed."""
        begin = (first_ms - self.first_ms) // STEP_MS
        if not 0 <= begin < len(self.values):
            return first_ms
        seen = (self.known & self.there)[begin:]
        seen[-1] = False  # it is forming
        return first_ms + STEP_MS * int(np.argmin(seen))

    @cached_property
    def streamed_ms(self) -> int:
        """The close of the newest candle that a stream has closed; 0 without any."""
        closed = self.times[self.streamed]
        return int(closed[-1]) + STEP_MS if len(closed) else 0

    def unsettled_ms(self, since_ms: int = 0) -> int:
        """The open time of the first candle that the next pass has to read again, or to read.
        Those that ended by `since_ms` are of an earlier contract, and are never read again."""
        settled = self.settled | (self.times + STEP_MS <= since_ms)
        return self.first_ms + STEP_MS * int(np.argmin(settled))

    def lacks_interest_ms(self) -> int | None:
        """The first instant whose snapshot may still come, or failed to be asked for: all, before
        the first answer. None: all are there."""
        if self.interest_ms == 0:
            return self.first_ms
        late_ms = self.interest_ms - LATE_INTEREST_MS
        lacking = np.isnan(self.values[:, _INTEREST]) & (self.times > late_ms)
        return self.first_ms + STEP_MS * int(np.argmax(lacking)) if lacking.any() else None

    def is_newer(self, moment_ms: int) -> bool:
        """Whether it was begun after the moment: nothing of it was read before."""
        return self._began_ms is None or self._began_ms > moment_ms

    @cached_property
    def _began_ms(self) -> int | None:
        """When the first of its slots was read."""
        read = self.read_ms[self.read_ms > 0]
        return int(read.min()) if len(read) else None

    def first_read_after(self, moment_ms: int) -> int | None:
        """The open time of the first slot that is not as it was at `moment_ms`, as far as known."""
        later = self.read_ms > moment_ms
        slot = int(later.argmax())
        return self.first_ms + STEP_MS * slot if later[slot] else None

    def first_read_again_ms(self) -> int | None:
        """The open time of the first slot that was read later than the first ones: it was not
        final then, or has changed since."""
        return None if self._began_ms is None else self.first_read_after(self._began_ms)

    def reaches(self, as_of_ms: int) -> bool:
        """Whether a pass at `as_of_ms` goes on with this base: it is not of a time to come, and
        ends within the reach."""
        return self.as_of_ms <= as_of_ms and self.newest_ms >= reach(as_of_ms)

    def is_fresh(self, as_of_ms: int) -> bool:
        """Whether nothing has to be asked for at `as_of_ms`: no 5m candle has closed since the
        last pass, which is not long ago."""
        return is_fresh(self.as_of_ms, as_of_ms)

    def until(self, as_of_ms: int) -> "Base":
        """This base up to the slot that holds `as_of_ms`.

        Unless it is fresh, slots that were not final when they were read count as never read, as
        do those that have come since.
        """
        if self.is_fresh(as_of_ms):
            return self
        missing = max(0, (Timeframe.M5.floor(as_of_ms) - self.newest_ms) // STEP_MS)
        return replace(
            self,
            values=stacked((self.values, _no_values(missing))),
            read_ms=np.append(self.read_ms * self.settled, np.zeros(missing, np.int64)),
            lost=np.append(self.lost, np.zeros(missing, np.bool_)),
            streamed=np.append(self.streamed, np.zeros(missing, np.bool_)),
        )

    def with_interest(self, snapshots: Sequence[tuple[int, float]], as_of_ms: int) -> "Base":
        """This base with the snapshots that a pass got at `as_of_ms`; known ones stay."""
        values = self._with_snapshots(TimedValues.of(snapshots))
        return replace(self, values=values, interest_ms=as_of_ms)

    def with_published_interest(self, published: TimedValues) -> "Base":
        """This base with published snapshots, until a pass gets others: none was asked for."""
        return replace(self, values=self._with_snapshots(published)) if len(published) else self

    def _with_snapshots(self, snapshots: TimedValues) -> Floats:
        found = snapshots.between(self.first_ms, self.newest_ms)
        lines, off_grid = np.divmod(found.times - self.first_ms, STEP_MS)
        values = self.values.copy()
        values[lines[off_grid == 0], _INTEREST] = found.numbers[off_grid == 0]
        return values

    def without_streamed(self, opens_ms: Collection[int]) -> "Base":
        """This base, of which those slots count as never read that a stream has closed."""
        taken = self.streamed & np.isin(self.times, list(opens_ms))
        if not taken.any():
            return self
        return replace(self, read_ms=self.read_ms * ~taken, streamed=self.streamed & ~taken)

    def without_forming(self) -> "Base":
        """This base, of whose last candle the answer told nothing that can be."""
        return replace(self, read_ms=np.append(self.read_ms[:-1], 0))


def is_fresh(read_ms: int, now_ms: int) -> bool:
    """Whether what a pass read at `read_ms` still is all that there is: no 5m candle has closed
    since, which is not long ago."""
    same_candle = Timeframe.M5.floor(read_ms) == Timeframe.M5.floor(now_ms)
    return same_candle and 0 <= now_ms - read_ms < FRESH_MS


def reach(as_of_ms: int) -> int:
    """The open time of the first slot of a base at `as_of_ms`; it moves in steps of a block."""
    return (as_of_ms - REACH_MS) // _BLOCK_MS * _BLOCK_MS


def extended(base: Base | None, candles: Sequence[Candle], *, asked_ms: int, as_of_ms: int) -> Base:
    """The base with what a pass read: all candles from `asked_ms` to the one that holds `as_of_ms`.

    Slots from `asked_ms` on become what the answer shows. A base of a time that has not come yet
    was read by a wrong clock and counts as absent, as does one that ended before the reach; a new
    one begins with its first candle.
    """
    fetched = Candles.of(candles).between(asked_ms, as_of_ms)
    newest_ms, earliest_ms = Timeframe.M5.floor(as_of_ms), reach(as_of_ms)
    if base is not None and not base.reaches(as_of_ms):
        base = None
    begins = [int(fetched.times[0])] if len(fetched) else []
    if base is not None:
        begins.append(base.first_ms)
    first_ms = max(earliest_ms, min(begins, default=newest_ms))
    count = (newest_ms - first_ms) // STEP_MS + 1
    is_wide = fetched.is_wide or (base is not None and base.is_wide)
    values, read_ms = _no_values(count, is_wide), np.zeros(count, np.int64)
    lost, streamed = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    if base is not None:
        skipped = max(0, (first_ms - base.first_ms) // STEP_MS)
        begin = max(0, (base.first_ms - first_ms) // STEP_MS)
        kept = slice(begin, begin + len(base.values) - skipped)
        values[kept, : base.values.shape[1]] = base.values[skipped:]
        read_ms[kept] = base.read_ms[skipped:]
        lost[kept], streamed[kept] = base.lost[skipped:], base.streamed[skipped:]
    begin = min(count, max(0, -(-(asked_ms - first_ms) // STEP_MS)))
    asked_ms = first_ms + STEP_MS * begin
    fetched = fetched.between(asked_ms, as_of_ms)
    lines = (fetched.times - asked_ms) // STEP_MS
    shown = np.full((count - begin, fetched.values.shape[1]), np.nan)
    shown[lines] = fetched.values
    shown_lost = np.zeros(count - begin, np.bool_)
    shown_lost[lines] = lost_digits(fetched)
    before = values[begin:, CANDLE]
    same = (shown[:, CANDLE] == before).all(axis=1)
    same |= np.isnan(shown[:, 0]) & np.isnan(before[:, 0])
    same &= shown_lost == lost[begin:]
    if is_wide:
        traded = values[begin:, TRADES]
        told = widened(shown, CANDLE_TRADES.stop)[:, CANDLE_TRADES]
        told = np.where(same[:, None] & np.isnan(told), traded, told)  # what is known stays known
        same &= ((told == traded) | (np.isnan(told) & np.isnan(traded))).all(axis=1)
    closes = asked_ms + STEP_MS * np.arange(1, count - begin + 1)
    # What REST shows before a candle is final does not replace the one of a stream.
    early = streamed[begin:] & (as_of_ms < closes + FINAL_AFTER_MS)
    settled = early | (same & (streamed[begin:] | (read_ms[begin:] >= closes + FINAL_AFTER_MS)))
    values[begin:, CANDLE] = np.where(early[:, None], before, shown[:, CANDLE])
    if is_wide:
        values[begin:, TRADES] = np.where(early[:, None], traded, told)
    lost[begin:] = np.where(early, lost[begin:], shown_lost)
    read_ms[begin:] = np.where(settled, read_ms[begin:], as_of_ms)
    streamed[begin:] &= settled
    interest_ms = base.interest_ms if base is not None else 0
    return Base(first_ms, values, read_ms, lost, as_of_ms, interest_ms, streamed)


def lacks_closed(base: Base, closed: Candles, as_of_ms: int, since_ms: int = 0) -> bool:
    """Whether a candle that closed by `as_of_ms` is neither final in the base nor among these;
    `since_ms` as in Base.unsettled_ms."""
    last_ms = Timeframe.M5.last_closed_open_time(as_of_ms)
    wanted = base.until(as_of_ms)
    open_ms = wanted.times[~wanted.settled & (wanted.times + STEP_MS > since_ms)]
    return not np.isin(open_ms[open_ms <= last_ms], closed.times).all()


def with_stream(
    base: Base, closed: Sequence[Candle], forming: Candle | None, *, as_of_ms: int
) -> Base:
    """The base with candles that streams have closed, and the forming one as they show it.

    `closed`: proven ones. Final slots stay; those that `closed` does not have stay as they are, as
    does the forming one without `forming`.
    """
    following = extended(base, (), asked_ms=base.newest_ms + STEP_MS, as_of_ms=as_of_ms)
    candles = Candles.of(closed).between(following.first_ms, as_of_ms)
    lines = (candles.times - following.first_ms) // STEP_MS
    added = following.times > base.newest_ms
    new = np.flatnonzero((added | ~following.settled)[lines])
    last = Candles.of([forming] if forming is not None else ())
    is_wide = following.is_wide or candles.is_wide or last.is_wide
    values, read_ms = following.values.copy(), following.read_ms * ~added
    values = widened(values, width_of(is_wide))
    lost, streamed = following.lost.copy(), following.streamed.copy()
    filled = candles.select(new)
    _place(filled, values, lines[new])
    read_ms[lines[new]], streamed[lines[new]] = as_of_ms, True
    lost[lines[new]] = lost_digits(filled)
    if len(last):
        _place(last, values, np.array([-1]))
        lost[-1] = bool(lost_digits(last).any())
    read_ms[-1] = as_of_ms
    return replace(following, values=values, read_ms=read_ms, lost=lost, streamed=streamed)


def _place(candles: Candles, values: Floats, lines: Times) -> None:
    """Writes the candles into these lines; those that tell nothing of trades have nulls."""
    values[lines, CANDLE] = candles.values[:, :CANDLE_WIDTH]
    if values.shape[1] > width_of(False):
        told = widened(candles.values, CANDLE_TRADES.stop)
        values[lines, TRADES] = told[:, CANDLE_TRADES]


def _no_values(count: int, trade_columns: bool = False) -> Floats:
    return np.full((count, width_of(trade_columns)), np.nan)
