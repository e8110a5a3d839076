"""What the earlier documents spare a collection: what is kept, what is asked for again.

Plans and compares; fetches nothing. A refreshed market ends up with the rows that a cold
collection at the same instant gives it:

- Candles that had been closed for a while when they were fetched are kept. The newest of them are
  asked for again together with what is new (that many cost no more than one). A closed candle
  that comes back different, or not at all, means that the exchange corrects its history: the
  whole market is fetched anew. 8h sums are kept with their candles, for they were made from the
  exchange's decimals; the 4h rows must agree with them.
- Published open interest is kept. A null is asked for again while the snapshot may be merely
  late, when nobody knows whether it could not be had, and else only now and then.
- Funding rates are never kept: the funding book is the truth, and every row is merged anew.
- A hole in what is kept is asked for again, in a few markets of each exchange per run: most holes
  are the exchange's own and stay.
- Once a day all candles of a market are fetched, so that corrections of any age and late
  snapshots are found.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import lcm
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt
import structlog

from data_collector.task_builder import FetchTask, MarketTasks
from market.aggregation import aggregate, with_merged
from market.candles import Candle, Candles, ExactTexts
from market.columns import CANDLE, SUMMED, UNSUMMED
from market.markets import Exchange, Market, MarketSeries, Row, UnreadableSeries
from market.rows import Rows, TimedValues, Times, first_time
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from venues import VENUES

SeriesByTimeframe = Mapping[Timeframe, Mapping[str, MarketSeries]]

# A refresh asks for as many candles as the exchange's lightest request brings, and at least for
# so many that are known already, when more have closed since.
LEAST_OVERLAP: Final = 10
# A candle that has just closed may still change.
SETTLES_MS: Final = MINUTE_MS
# A snapshot that is not out after so long is asked for as a hole.
LATE_INTEREST_MS: Final = HOUR_MS
# Markets of each exchange whose old holes are asked for in one run (all their candles, which
# weigh more), and whose old nulls.
HOLES_A_RUN: Final = 2
NULLS_A_RUN: Final = 6
# So many series are looked at for one that reaches back to the start of the window.
_WITNESSES: Final = 100
# Sums of floats differ from sums of decimals in the last places.
_SAME_SUM: Final = 1e-12

_NO_ROWS: Final = Rows.of(())

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RefreshPlan:
    """How one market is refreshed.

    `klines`: the candles asked for. `kept`: the closed rows before those; `made`: the longer ones
    that were made of `kept`. `compared`: closed rows that must come back as they are. `interest`:
    the open interest that is known, `seen`: the rows for which it has been asked, `all_interest`:
    every null is asked for again, else only what is younger than `late_ms`.
    """

    timeframe: Timeframe
    klines: FetchTask
    kept: Rows
    made: Mapping[Timeframe, Rows]
    compared: Rows
    interest: TimedValues
    seen: Times
    late_ms: int
    all_interest: bool

    def agrees(self, candles: Sequence[Candle]) -> bool:
        """Whether what is known to be closed came back as it was."""
        came = Candles.of(candles)
        there, lines = _found(self.compared.times, came.times)
        return bool(there.all()) and np.array_equal(
            came.values[lines], self.compared.values[:, CANDLE]
        )

    def lacking_interest(self, task: FetchTask, candles: Sequence[Candle]) -> FetchTask | None:
        """What is to be asked of the open interest; None: nothing."""
        times = np.concatenate((self.kept.times, Candles.of(candles).times))
        times = times[np.searchsorted(times, task.start_ms) :]
        lacking = ~_found(times, self.interest.times)[0]
        if not self.all_interest:
            lacking &= (times > self.late_ms) | ~_found(times, self.seen)[0]
        times = times[lacking]
        if not len(times):
            return None
        first_ms, last_ms = int(times[0]), int(times[-1])
        newest_ms = min(task.newest_ms, last_ms)
        return replace(task, start_ms=first_ms, end_ms=last_ms, newest_ms=newest_ms)

    def with_known(
        self, asked: FetchTask | None, snapshots: Sequence[tuple[int, float]]
    ) -> TimedValues | None:
        """The known open interest and what came for `asked`; None where the two disagree."""
        if asked is None:
            return self.interest
        came = TimedValues.of(snapshots)
        known = self.interest.between(asked.start_ms, asked.end_ms)
        there, lines = _found(known.times, came.times)
        if not there.all() or not np.array_equal(came.values[lines], known.values):
            return None
        return TimedValues.joined([self.interest, came])

    def aggregate(
        self, rows: Sequence[Row], made: Timeframe, *, exact: ExactTexts, window_start_ms: int
    ) -> Rows:
        """The merged rows made longer: of those kept with the sums known, of the others anew.

        `exact` belongs to the rows after the kept ones.
        """
        kept, others = Rows.of(rows[: len(self.kept)]), rows[len(self.kept) :]
        known = with_merged(self.made.get(made, _NO_ROWS), kept, made)
        anew = aggregate(others, self.timeframe, made, window_start_ms=window_start_ms, exact=exact)
        return Rows.joined([known, anew])


class PreviousDocuments:
    """The documents before this collection: the base of its refreshes, and what is carried over.

    `documents`: their series by timeframe and Market.key. What cannot be read of them counts as
    absent.
    """

    def __init__(
        self,
        documents: SeriesByTimeframe,
        timeframe: Timeframe,
        *,
        as_of_ms: int,
        history_candles: int,
    ) -> None:
        self._documents = documents
        self._timeframe = timeframe
        self._as_of_ms = as_of_ms
        self._start_ms = timeframe.window_start(as_of_ms, history_candles)
        self._turns: Counter[tuple[Exchange, str]] = Counter()
        self._whole_window: bool | None = None

    def series(self, timeframe: Timeframe, market: Market) -> MarketSeries | None:
        """The market's earlier series, if there is one."""
        return self._read(timeframe, market.key)

    def rows(self, timeframe: Timeframe, market: Market) -> Rows:
        """The market's earlier rows inside today's window that are what they claim to be.

        One that was forming when it was fetched and has closed since would pass for closed.
        """
        known = self._read(timeframe, market.key)
        if known is None:
            return _NO_ROWS
        # What is made of other candles reaches as far back as those do.
        closed_then_ms = timeframe.last_closed_open_time(known.checked_at_ms)
        closed_now_ms = timeframe.last_closed_open_time(self._as_of_ms)
        rows = Rows.of(known.rows)
        closed_since = (rows.times > closed_then_ms) & (rows.times <= closed_now_ms)
        return rows.select(np.flatnonzero((rows.times >= self._start_ms) & ~closed_since))

    def in_turn(self, tasks: list[MarketTasks]) -> list[MarketTasks]:
        """The tasks from another one on each time, so that those at the end get their turn with
        what is done for a few markets only."""
        first = crc32(str(self._as_of_ms).encode()) % max(1, len(tasks))
        return tasks[first:] + tasks[:first]

    def plan(self, tasks: MarketTasks) -> RefreshPlan | None:
        """How the market can be refreshed; None: only by a cold fetch."""
        market, timeframe = tasks.market, self._timeframe
        series = self._read(timeframe, market.key)
        if series is None or series.checked_at_ms > self._as_of_ms or not self._is_whole(series):
            return None
        rows = Rows.of(series.rows)
        settled_ms = timeframe.last_closed_open_time(series.checked_at_ms - SETTLES_MS)
        closed = rows.between(self._start_ms, settled_ms)
        if not len(closed) or not _well_formed(rows, timeframe):
            return None
        first_ms, last_ms = int(closed.times[0]), int(closed.times[-1])
        begin_ms = self._asked_from(market.exchange, last_ms)
        count = int(np.searchsorted(closed.times, begin_ms))
        kept, compared = closed[:count], closed[count:]
        made = self._made(market, kept)

        late_ms = series.checked_at_ms - LATE_INTEREST_MS
        interest, nulls = TimedValues.of(()), False
        if (task := tasks.open_interest) is not None:
            interest = rows.non_null("open_interest").between(task.start_ms, int(rows.times[-1]))
            lacking, times = np.isnan(rows.column("open_interest")), rows.times
            # A market that is listed within a candle has no snapshot at its beginning.
            old = (times > first_ms) & (times >= task.start_ms) & (times <= late_ms)
            nulls = bool((lacking & old).any())
        front_ms = max(self._start_ms, timeframe.floor(market.launched_ms))
        front_ms = min(front_ms, first_ms)
        holes = count * timeframe.interval_ms < begin_ms - front_ms
        due = self._is_due(market, series)
        whole = due or (holes and self._takes_turn(market.exchange, "holes", HOLES_A_RUN))
        unasked = series.lacks_open_interest or series.stale_since_ms is not None
        again = nulls and self._takes_turn(market.exchange, "nulls", NULLS_A_RUN)
        if whole or made is None or begin_ms <= self._start_ms:
            # All candles, but still no snapshot that is known.
            klines, kept, made, compared = tasks.klines, _NO_ROWS, {}, closed
        else:
            # A young market is not asked for what was before it.
            klines = replace(tasks.klines, start_ms=max(begin_ms, front_ms))
        return RefreshPlan(
            timeframe=timeframe,
            klines=klines,
            kept=kept,
            made=made,
            compared=compared,
            interest=interest,
            seen=rows.times,
            late_ms=late_ms,
            all_interest=due or unasked or again,
        )

    def _read(self, timeframe: Timeframe, key: str) -> MarketSeries | None:
        try:
            return self._documents.get(timeframe, {}).get(key)
        except UnreadableSeries as error:
            log.error("rows_damaged", timeframe=timeframe, market=key, error=str(error))
            return None

    def _is_whole(self, series: MarketSeries) -> bool:
        """Whether the series has all there was from the start of today's window on.

        That of a young market begins late, just as every one does once a longer history is
        wanted; what tells them apart is another one of the same document that begins in time.
        """
        if series.rows and first_time(series.rows) <= self._start_ms:
            return True
        if series.stale_since_ms is not None:
            return False
        if self._whole_window is None:
            keys = islice(self._documents.get(self._timeframe, {}), _WITNESSES)
            self._whole_window = any(self._begins_in_time(key) for key in keys)
        return self._whole_window

    def _begins_in_time(self, key: str) -> bool:
        series = self._read(self._timeframe, key)
        return (
            series is not None
            and series.stale_since_ms is None
            and bool(series.rows)
            and first_time(series.rows) <= self._start_ms
        )

    def _asked_from(self, exchange: Exchange, last_ms: int) -> int:
        """The first candle asked for, when the newest that is known opened at `last_ms`."""
        step_ms = self._timeframe.interval_ms
        newest_ms = self._timeframe.floor(self._as_of_ms)
        asked_ms = (VENUES[exchange].cheapest_candles - 1) * step_ms
        first_ms = min(newest_ms - asked_ms, last_ms - LEAST_OVERLAP * step_ms)
        # What is made of these candles is made of all of its own.
        longest_ms = lcm(*(made.interval_ms for made in self._timeframe.produces))
        return -(-first_ms // longest_ms) * longest_ms

    def _made(self, market: Market, kept: Rows) -> dict[Timeframe, Rows] | None:
        """The earlier longer rows of the kept ones; None where two documents disagree."""
        found: dict[Timeframe, Rows] = {}
        for made in self._timeframe.produces[1:]:
            expected = aggregate(kept, self._timeframe, made, window_start_ms=self._start_ms)
            if not len(expected):
                continue
            known = self._read(made, market.key)
            if known is None or not (rows := Rows.of(known.rows)).is_finite():
                return None
            first_ms, last_ms = int(expected.times[0]), int(expected.times[-1])
            found[made] = rows.between(first_ms, last_ms)
            if not _same_candles(expected, found[made]):
                return None
        return found

    def _is_due(self, market: Market, series: MarketSeries) -> bool:
        """Whether the market's moment of the day has passed since it was fetched."""
        moment_ms = crc32(market.key.encode()) % DAY_MS
        days = [(time - moment_ms) // DAY_MS for time in (series.checked_at_ms, self._as_of_ms)]
        return days[0] != days[1]

    def _takes_turn(self, exchange: Exchange, what: str, most: int) -> bool:
        self._turns[exchange, what] += 1
        return self._turns[exchange, what] <= most


def _found(times: Times, among: Times) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which of the times are in the others, and where; both ascend."""
    lines = np.searchsorted(among, times)
    if not len(among):
        return np.zeros(len(times), np.bool_), lines
    lines[lines == len(among)] = 0
    return among[lines] == times, lines


def _well_formed(rows: Rows, timeframe: Timeframe) -> bool:
    times = rows.times
    rising = not (times % timeframe.interval_ms).any() and bool((times[1:] > times[:-1]).all())
    return rising and rows.is_finite()


def _same_candles(one: Rows, other: Rows) -> bool:
    if not np.array_equal(one.times, other.times):
        return False
    same = np.array_equal(one.values[:, UNSUMMED], other.values[:, UNSUMMED])
    sums, others = one.values[:, SUMMED], other.values[:, SUMMED]
    return same and bool((np.abs(sums - others) <= _SAME_SUM * others).all())
