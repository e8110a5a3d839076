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

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import isclose
from operator import itemgetter, lt
from typing import Final
from zlib import crc32

import structlog

from data_collector.api_parser import Candle, OpenInterestRow
from data_collector.candles import ExactTexts
from data_collector.data_processing import aggregate_4h_to_8h
from data_collector.task_builder import FetchTask, MarketTasks
from document_slices import DocumentError
from market_data import DAY_MS, HOUR_MS, MINUTE_MS, Exchange, Market, MarketSeries, Row, Timeframe

Books = Mapping[Timeframe, Mapping[str, MarketSeries]]

# Candles asked for in a refresh: where requests are weighed by their rows, the cheapest brings
# that many.
ASKED_AGAIN: Final = 99
# ... and at least so many that are known already, when more have closed since.
LEAST_OVERLAP: Final = 10
# A candle that has just closed may still change.
SETTLES_MS: Final = MINUTE_MS
# A snapshot that is not out after so long is asked for as a hole.
LATE_INTEREST_MS: Final = HOUR_MS
# Markets of each exchange whose old holes are asked for in one run, and whose old nulls.
HOLES_A_RUN: Final = 3
NULLS_A_RUN: Final = 6
# So many series are looked at for one that reaches back to the start of the window.
_WITNESSES: Final = 100
# Sums of floats differ from sums of decimals in the last places.
_SAME_SUM: Final = 1e-12

_H8: Final = Timeframe.H8.interval_ms
_open_time = itemgetter(0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refresh:
    """How one market is refreshed.

    `klines`: the candles asked for. `kept`: the closed rows before those; `made`: what was made
    of `kept` (8h). `compared`: closed rows that must come back as they are. `interest`: the open
    interest that is known, `seen`: the rows for which it has been asked, `all_interest`: every
    null is asked for again, else only what is younger than `late_ms`.
    """

    klines: FetchTask
    kept: Sequence[Row]
    made: Sequence[Row]
    compared: Sequence[Row]
    interest: Mapping[int, float]
    seen: frozenset[int]
    late_ms: int
    all_interest: bool

    def agrees(self, candles: Sequence[Candle]) -> bool:
        """Whether what is known to be closed came back as it was."""
        came = {candle[0]: candle for candle in candles}
        for row in self.compared:
            candle = came.get(row[0])
            if candle is None or _numbers(candle) != row[1:7]:
                return False
        return True

    def lacking_interest(self, task: FetchTask, candles: Sequence[Candle]) -> FetchTask | None:
        """What is to be asked of the open interest; None: nothing."""
        times = [row[0] for row in self.kept]
        times += [candle[0] for candle in candles]
        lacking = [
            time
            for time in times[bisect_left(times, task.start_ms) :]
            if time not in self.interest
            and (self.all_interest or time > self.late_ms or time not in self.seen)
        ]
        if not lacking:
            return None
        newest_ms = min(task.newest_ms, lacking[-1])
        return replace(task, start_ms=lacking[0], end_ms=lacking[-1], newest_ms=newest_ms)

    def with_known(
        self, asked: FetchTask | None, snapshots: Sequence[OpenInterestRow]
    ) -> Sequence[OpenInterestRow] | None:
        """The known open interest and what came for `asked`; None where the two disagree."""
        if asked is None:
            return [*self.interest.items()]
        came = dict(snapshots)
        known = {
            time: value
            for time, value in self.interest.items()
            if asked.start_ms <= time <= asked.end_ms
        }
        if any(came.get(time) != value for time, value in known.items()):
            return None
        return [*{**self.interest, **came}.items()]

    def aggregate(
        self, rows: Sequence[Row], exact: ExactTexts, window_start_ms: int
    ) -> Sequence[Row]:
        """8h rows of the merged ones: of those kept with the numbers known, of the others anew.

        `exact` belongs to the rows after the kept ones.
        """
        count = len(self.kept)
        interest = {row[0]: row[7] for row in rows[:count]}
        rates = {row[0] - row[0] % _H8: row[8] for row in rows[:count]}  # the last row's
        others = aggregate_4h_to_8h(rows[count:], window_start_ms=window_start_ms, exact=exact)
        return [
            *((*row[:7], interest.get(row[0]), rates[row[0]]) for row in self.made),
            *others,
        ]


class Earlier:
    """The documents before this collection: the base of its refreshes, and what is carried over.

    `books`: their series by timeframe and Market.key. What cannot be read of them counts as
    absent.
    """

    def __init__(
        self, books: Books, timeframe: Timeframe, *, as_of_ms: int, history_candles: int
    ) -> None:
        self._books = books
        self._timeframe = timeframe
        self._as_of_ms = as_of_ms
        self._start_ms = timeframe.window_start(as_of_ms, history_candles)
        self._turns: Counter[tuple[Exchange, str]] = Counter()
        self._whole_window: bool | None = None

    def series(self, timeframe: Timeframe, market: Market) -> MarketSeries | None:
        """The market's earlier series, if there is one."""
        return self._read(timeframe, market.key)

    def rows(self, timeframe: Timeframe, market: Market) -> Sequence[Row]:
        """The market's earlier rows inside today's window that are what they claim to be.

        One that was forming when it was fetched and has closed since would pass for closed.
        """
        known = self._read(timeframe, market.key)
        if known is None:
            return []
        # What is made of other candles reaches as far back as those do.
        closed_then_ms = timeframe.last_closed_open_time(known.checked_at_ms)
        closed_now_ms = timeframe.last_closed_open_time(self._as_of_ms)
        return [
            row
            for row in known.rows
            if row[0] >= self._start_ms and not closed_then_ms < row[0] <= closed_now_ms
        ]

    def in_turn(self, tasks: list[MarketTasks]) -> list[MarketTasks]:
        """The tasks from another one on each time, so that those at the end get their turn with
        what is done for a few markets only."""
        first = crc32(str(self._as_of_ms).encode()) % max(1, len(tasks))
        return tasks[first:] + tasks[:first]

    def plan(self, tasks: MarketTasks) -> Refresh | None:
        """How the market can be refreshed; None: only by a cold fetch."""
        market, timeframe = tasks.market, self._timeframe
        series = self._read(timeframe, market.key)
        if series is None or series.checked_at_ms > self._as_of_ms or not self._is_whole(series):
            return None
        rows = series.rows
        settled_ms = timeframe.last_closed_open_time(series.checked_at_ms - SETTLES_MS)
        closed = rows[_place(rows, self._start_ms) : _place(rows, settled_ms + 1)]
        if not closed or not _well_formed(rows, timeframe):
            return None
        begin_ms = self._asked_from(closed[-1][0])
        count = _place(closed, begin_ms)
        kept, compared = closed[:count], closed[count:]
        made = self._made(market, kept) if timeframe.produces[1:] else ()

        first_ms = tasks.open_interest.start_ms if tasks.open_interest is not None else begin_ms
        known = [(row[0], row[7]) for row in rows[_place(rows, first_ms) :]]
        interest = {time: value for time, value in known if value is not None}
        seen = frozenset(row[0] for row in rows)
        late_ms = series.checked_at_ms - LATE_INTEREST_MS
        nulls = tasks.open_interest is not None and any(
            # A market that is listed within a candle has no snapshot at its beginning.
            value is None and closed[0][0] < time <= late_ms
            for time, value in known
        )
        front_ms = max(self._start_ms, timeframe.floor(market.launched_ms))
        front_ms = min(front_ms, closed[0][0])
        holes = count * timeframe.interval_ms < begin_ms - front_ms
        due = self._is_due(market, series)
        whole = due or (holes and self._takes_turn(market.exchange, "holes", HOLES_A_RUN))
        unasked = series.lacks_open_interest or series.stale_since_ms is not None
        again = nulls and self._takes_turn(market.exchange, "nulls", NULLS_A_RUN)
        if whole or made is None or begin_ms <= self._start_ms:
            # All candles, but still no snapshot that is known.
            klines, kept, made, compared = tasks.klines, (), (), closed
        else:
            # A young market is not asked for what was before it.
            klines = replace(tasks.klines, start_ms=max(begin_ms, front_ms))
        return Refresh(
            klines=klines,
            kept=kept,
            made=made,
            compared=compared,
            interest=interest,
            seen=seen,
            late_ms=late_ms,
            all_interest=due or unasked or again,
        )

    def _read(self, timeframe: Timeframe, key: str) -> MarketSeries | None:
        try:
            return self._books.get(timeframe, {}).get(key)
        except DocumentError as error:
            log.error("rows_damaged", timeframe=timeframe, market=key, error=str(error))
            return None

    def _is_whole(self, series: MarketSeries) -> bool:
        """Whether the series has all there was from the start of today's window on.

        That of a young market begins late, just as every one does once a longer history is
        wanted; what tells them apart is another one of the same document that begins in time.
        """
        if series.rows and series.rows[0][0] <= self._start_ms:
            return True
        if series.stale_since_ms is not None:
            return False
        if self._whole_window is None:
            keys = islice(self._books.get(self._timeframe, {}), _WITNESSES)
            self._whole_window = any(self._begins_in_time(key) for key in keys)
        return self._whole_window

    def _begins_in_time(self, key: str) -> bool:
        series = self._read(self._timeframe, key)
        return (
            series is not None
            and series.stale_since_ms is None
            and bool(series.rows)
            and series.rows[0][0] <= self._start_ms
        )

    def _asked_from(self, last_ms: int) -> int:
        """The first candle asked for, when the newest that is known opened at `last_ms`."""
        step_ms = self._timeframe.interval_ms
        newest_ms = self._timeframe.floor(self._as_of_ms)
        first_ms = min(newest_ms - (ASKED_AGAIN - 1) * step_ms, last_ms - LEAST_OVERLAP * step_ms)
        # What is made of these candles is made of all of its own.
        longest_ms = self._timeframe.produces[-1].interval_ms
        return -(-first_ms // longest_ms) * longest_ms

    def _made(self, market: Market, kept: Sequence[Row]) -> Sequence[Row] | None:
        """The earlier 8h rows of the kept 4h rows; None where the two documents disagree."""
        made = self._timeframe.produces[-1]
        expected = aggregate_4h_to_8h(kept, window_start_ms=self._start_ms)
        known = self._read(made, market.key)
        if known is None or not expected:
            return None if expected else ()
        rows = known.rows[_place(known.rows, expected[0][0]) :][: len(expected)]
        settled_ms = made.last_closed_open_time(known.checked_at_ms - SETTLES_MS)
        if len(rows) < len(expected) or rows[-1][0] > settled_ms:
            return None
        return rows if all(map(_same_candle, expected, rows)) else None

    def _is_due(self, market: Market, series: MarketSeries) -> bool:
        """Whether the market's moment of the day has passed since it was fetched."""
        moment_ms = crc32(market.key.encode()) % DAY_MS
        days = [(time - moment_ms) // DAY_MS for time in (series.checked_at_ms, self._as_of_ms)]
        return days[0] != days[1]

    def _takes_turn(self, exchange: Exchange, what: str, most: int) -> bool:
        self._turns[exchange, what] += 1
        return self._turns[exchange, what] <= most


def _place(rows: Sequence[Row], time_ms: int) -> int:
    """The index of the first row that opens at `time_ms` or later."""
    return bisect_left(rows, time_ms, key=_open_time)


def _well_formed(rows: Sequence[Row], timeframe: Timeframe) -> bool:
    times = [row[0] for row in rows]
    on_grid = not any(map(timeframe.interval_ms.__rmod__, times))
    return on_grid and all(map(lt, times, times[1:]))


def _numbers(candle: Candle) -> tuple[float, ...]:
    return (*candle[1:5], float(candle[5]), float(candle[6]))


def _same_candle(one: Row, other: Row) -> bool:
    if one[:7] == other[:7]:
        return True
    return one[:5] == other[:5] and all(
        isclose(a, b, rel_tol=_SAME_SUM) for a, b in zip(one[5:7], other[5:7], strict=True)
    )
