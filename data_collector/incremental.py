"""Plans incremental collection: which rows of older documents to reuse, which to fetch again.

Plans and compares; fetches nothing. A refreshed market ends up with the rows that a full
collection at the same instant would give it:

- Candles that were final when fetched are reused. The newest of them are fetched again together
  with the new ones, at no extra cost. If a closed candle comes back different or is missing, the
  exchange has corrected its history, and the whole market is fetched again. An answer that ends
  before a known closed candle is not believed; one that lacks others is asked again. 8h rows are
  reused too, as their sums are exact in the exchange's decimals; the 4h rows must agree with them.
- Published open interest is reused. A null is fetched again while the snapshot may just be late,
  or if the last requests for it failed; other nulls only occasionally.
- Funding rates are never reused: every row is merged again from the funding series.
- A hole in reused rows is fetched again, for a few markets of each exchange per run; most holes
  exist at the exchange and stay. So is a row that was left out as invalid; until then it stays
  named in `missing`.
- Once a day all candles of a market are fetched, to find corrections of any age and late
  snapshots; so they are where the columns of trades are wanted, and the first of its closed rows
  lacks what the exchange tells of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import lcm
from typing import Final
from zlib import crc32

import numpy as np
import structlog

from data_collector.closings import NO_STREAMS, Closings
from data_collector.life_rows import is_of_life, rows_of_life
from data_collector.task_builder import FetchTask, MarketTasks
from market.aggregation import aggregate, with_merged
from market.base import FINAL_AFTER_MS, LATE_INTEREST_MS
from market.candles import Candle, Candles, ExactTexts
from market.columns import SUMMED, UNSUMMED
from market.left_out import LeftOut
from market.markets import Exchange, Market, MarketSeries, MissingPart, Row, UnreadableSeries
from market.previous_series import SAMPLED_SERIES, PreviousSeries, sample_of
from market.rows import (
    Rows,
    TimedValues,
    Times,
    are_same_candles,
    candle_values,
    first_time,
    located,
)
from market.timeframes import Timeframe, is_daily_moment_passed
from venues import VENUES

SeriesByTimeframe = Mapping[Timeframe, Mapping[str, MarketSeries]]

# A refresh fetches as many candles as the exchange's cheapest request returns, and at least this
# many known ones.
LEAST_OVERLAP: Final = 10
# Markets per exchange and run whose old holes (by fetching all candles) or old nulls are fetched.
HOLES_PER_RUN: Final = 2
NULLS_PER_RUN: Final = 6
# Relative tolerance: sums of floats differ from sums of decimals in the last digits.
_SAME_SUM: Final = 1e-12

_NO_ROWS: Final = Rows.of(())

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RefreshPlan:
    """How one market is refreshed.

    `klines`: the candles to fetch. `reused`: the closed rows before them; `longer`: the rows
    aggregated from `reused`. `compared`: closed rows that must come back unchanged. `interest`:
    the known open interest; `requested`: the times for which it has been requested;
    `all_interest`: fetch every null again, else only those after `late_ms`.
    """

    timeframe: Timeframe
    klines: FetchTask
    reused: Rows
    longer: Mapping[Timeframe, Rows]
    compared: Rows
    interest: TimedValues
    requested: Times
    late_ms: int
    all_interest: bool

    def matches(self, candles: Sequence[Candle]) -> bool:
        """Whether the compared rows came back unchanged."""
        fetched = Candles.of(candles)
        there, lines = located(self.compared.times, fetched.times)
        if not there.all():
            return False
        known = candle_values(self.compared.values)
        return bool(are_same_candles(fetched.values[lines], known).all())

    def open_interest_task(self, task: FetchTask, candles: Sequence[Candle]) -> FetchTask | None:
        """`task` narrowed to the open interest to fetch; None: nothing."""
        times = np.concatenate((self.reused.times, Candles.of(candles).times))
        requested = self.requested
        if len(times) and len(requested) and times[0] < requested[0]:
            # Rows of before have come: a launch told too late may have denied it its snapshot.
            requested = requested[1:]
        times = times[times.searchsorted(task.start_ms) :]
        lacking = ~located(times, self.interest.times)[0]
        if not self.all_interest:
            lacking &= (times > self.late_ms) | ~located(times, requested)[0]
        times = times[lacking]
        if not len(times):
            return None
        first_ms, last_ms = int(times[0]), int(times[-1])
        newest_ms = min(task.newest_ms, last_ms)
        return replace(task, start_ms=first_ms, end_ms=last_ms, newest_ms=newest_ms)

    def merged_interest(
        self, asked: FetchTask | None, snapshots: Sequence[tuple[int, float]]
    ) -> TimedValues | None:
        """The known open interest with the snapshots fetched for `asked`; None if they disagree."""
        if asked is None:
            return self.interest
        fetched = TimedValues.of(snapshots)
        known = self.interest.between(asked.start_ms, asked.end_ms)
        there, lines = located(known.times, fetched.times)
        if not there.all() or not np.array_equal(fetched.values[lines], known.values):
            return None
        return TimedValues.joined([self.interest, fetched])

    def aggregate(
        self, rows: Sequence[Row], target: Timeframe, *, exact: ExactTexts, window_start_ms: int
    ) -> Rows:
        """Aggregates merged rows to `target`; reused rows keep the sums of the old document.

        `exact` belongs to the rows after the reused ones.
        """
        reused, others = Rows.of(rows[: len(self.reused)]), rows[len(self.reused) :]
        known = with_merged(self.longer.get(target, _NO_ROWS), reused, target)
        new = aggregate(
            others, self.timeframe, target, window_start_ms=window_start_ms, exact=exact
        )
        return Rows.joined([known, new])


class PreviousDocuments:
    """The older documents: the base of refreshes, and the rows to carry over.

    `documents`: their series by timeframe and Market.key. `streamed_ms`: up to when streams have
    closed candles, by exchange. `trade_columns`: those of trades are wanted. An unreadable series
    counts as absent, as does one that the run has replaced: what is needed of a market is asked for
    before it is delivered.
    """

    def __init__(
        self,
        documents: SeriesByTimeframe,
        timeframe: Timeframe,
        *,
        as_of_ms: int,
        history_candles: int,
        streamed_ms: Mapping[Exchange, int] = NO_STREAMS,
        trade_columns: bool = False,
    ) -> None:
        self._trade_columns = trade_columns
        self._documents = documents
        self._timeframe = timeframe
        self._as_of_ms = as_of_ms
        self._start_ms = timeframe.window_start(as_of_ms, history_candles)
        self._quota_used: Counter[tuple[Exchange, str]] = Counter()
        self._some_cover_window: bool | None = None
        self._samples = {each: sample_of(series) for each, series in documents.items()}
        self._closings = Closings(self._samples, partial(_read, self._samples), streamed_ms)

    def series(self, timeframe: Timeframe, market: Market) -> MarketSeries | None:
        """The market's old series, if any."""
        return self._read(timeframe, market.key)

    def rows(self, timeframe: Timeframe, market: Market) -> Rows:
        """The market's old rows in the present window, without those that have closed since, and
        none of an earlier life.

        Nor those of a wrong clock; see closings.py.
        """
        known = self._read(timeframe, market.key)
        if known is None:
            return _NO_ROWS
        rows = self._closings.true_rows(timeframe, known, self._as_of_ms)
        ours = rows.select(np.flatnonzero(rows.times >= self._start_ms))
        return rows_of_life(market, ours, timeframe.interval_ms, self._timeframe.interval_ms)

    def closed_rows(self, market: Market) -> Rows:
        """The old rows in the window that were final when they were fetched."""
        known = self._read(self._timeframe, market.key)
        if known is None or known.checked_at_ms > self._as_of_ms:
            return _NO_ROWS
        final_ms = self._timeframe.last_closed_open_time(known.checked_at_ms - FINAL_AFTER_MS)
        return self.rows(self._timeframe, market).between(self._start_ms, final_ms)

    def interest(self, market: Market) -> TimedValues:
        """The open interest of the old rows, that of candles that were forming included."""
        known = self._read(self._timeframe, market.key)
        if known is None or known.checked_at_ms > self._as_of_ms:
            return _NO_ROWS.non_null("open_interest")
        step_ms = self._timeframe.interval_ms
        ours = rows_of_life(market, Rows.of(known.rows), step_ms, step_ms)
        return ours.non_null("open_interest")

    def left_out(self, market: Market, part: MissingPart) -> list[LeftOut]:
        """The invalid rows that the market's old series of the collected timeframe lacks, as far
        as they lie in the present window."""
        known = self._read(self._timeframe, market.key)
        told = known.left_out.get(part, ()) if known is not None else ()
        step_ms = self._timeframe.interval_ms
        return [row for row in told if row.slot_ms(step_ms) >= self._start_ms]

    def usable(self, market: Market) -> dict[Timeframe, MarketSeries]:
        """The market's old series of all timeframes, for base_plan.py: well formed, and with every
        candle since the start of the present window that the exchange had; {} if one is not."""
        found: dict[Timeframe, MarketSeries] = {}
        for target in self._timeframe.produces:
            series = self._read(target, market.key)
            if series is None or series.checked_at_ms > self._as_of_ms:
                return {}
            rows = Rows.of(series.rows)
            if not (self._is_ours(target) or _well_formed(rows, target)):
                return {}
            if not self._closings.are_shown(target, series):
                return {}
            found[target] = series if rows is series.rows else replace(series, rows=rows)
        first, *longer = found.values()
        if not self._is_complete(first):
            return {}
        if longer and not all(map(self._is_ours, self._timeframe.produces)):
            closed, longest_ms = self.closed_rows(market), self._timeframe.produces[-1].interval_ms
            end_ms = int(closed.times[-1]) + self._timeframe.interval_ms if len(closed) else 0
            # A run may have ended between the publishes of the documents.
            oldest_ms = min(series.checked_at_ms for series in longer)
            end_ms = min(end_ms, oldest_ms - FINAL_AFTER_MS)
            whole = closed.between(self._start_ms, end_ms // longest_ms * longest_ms - 1)
            if self._longer_rows(market, whole) is None:
                return {}
        return found

    def _is_ours(self, timeframe: Timeframe) -> bool:
        series = self._documents.get(timeframe)
        return isinstance(series, PreviousSeries) and series.is_ours

    def carried_over(self, market: Market) -> list[tuple[Timeframe, MarketSeries]]:
        """The market's old rows in the present window, by timeframe, stale since they are carried
        over."""
        kept = []
        for target in self._timeframe.produces:
            known, rows = self.series(target, market), self.rows(target, market)
            if known is None or not rows:
                continue
            since_ms = self._as_of_ms if known.stale_since_ms is None else known.stale_since_ms
            checked_ms = min(known.checked_at_ms, self._as_of_ms)  # later only by a wrong clock
            kept.append((target, MarketSeries(market, rows, checked_ms, since_ms)))
        return kept

    def rotated(self, tasks: list[MarketTasks]) -> list[MarketTasks]:
        """The tasks rotated by an offset that depends on the time, so that quotas per run reach
        every market."""
        first = crc32(str(self._as_of_ms).encode()) % len(tasks)
        return tasks[first:] + tasks[:first]

    def goes_on(self, market: Market) -> bool:
        """Whether what is known of the market may go on; else all its candles are fetched."""
        series = self._read(self._timeframe, market.key)
        if series is None or series.checked_at_ms > self._as_of_ms:
            return False
        return self._is_complete(series)

    def plan(self, tasks: MarketTasks) -> RefreshPlan | None:
        """How to refresh the market; None: fetch it in full."""
        market, timeframe = tasks.market, self._timeframe
        series = self._read(timeframe, market.key)
        if series is None or not self.goes_on(market):
            return None
        rows = Rows.of(series.rows)
        settled_ms = timeframe.last_closed_open_time(series.checked_at_ms - FINAL_AFTER_MS)
        closed = rows.between(self._start_ms, settled_ms)
        if not len(closed) or not _well_formed(rows, timeframe):
            return None
        if not is_of_life(market, closed, timeframe.interval_ms):
            return None  # the document is from before another contract got the symbol
        first_ms, last_ms = int(closed.times[0]), int(closed.times[-1])
        begin_ms = self._fetch_start(market.exchange, last_ms)
        count = int(closed.times.searchsorted(begin_ms))
        reused, compared = closed[:count], closed[count:]
        longer = self._longer_rows(market, reused)

        late_ms = series.checked_at_ms - LATE_INTEREST_MS
        interest, nulls = TimedValues.of(()), False
        if (task := tasks.open_interest) is not None:
            interest = rows.non_null("open_interest").between(task.start_ms, int(rows.times[-1]))
            lacking, times = np.isnan(rows.column("open_interest")), rows.times
            # A market that was listed during a candle has no snapshot at its open time.
            old = (times > first_ms) & (times >= task.start_ms) & (times <= late_ms)
            nulls = bool((lacking & old).any())
        front_ms = max(self._start_ms, timeframe.floor(max(market.launched_ms, market.since_ms)))
        front_ms = min(front_ms, first_ms)
        holes = count * timeframe.interval_ms < begin_ms - front_ms
        due = self._is_full_fetch_due(market, series)
        whole = due or (self._trade_columns and lacks_trades(market, closed))
        whole = whole or (holes and self._within_quota(market.exchange, "holes", HOLES_PER_RUN))
        incomplete = series.lacks_open_interest or series.stale_since_ms is not None
        again = nulls and self._within_quota(market.exchange, "nulls", NULLS_PER_RUN)
        if whole or longer is None:
            # Fetch all candles, but only unknown snapshots.
            klines, reused, longer, compared = tasks.klines, _NO_ROWS, {}, closed
        else:
            # Ask a young market for nothing before its listing.
            klines = replace(tasks.klines, start_ms=max(begin_ms, front_ms))
        return RefreshPlan(
            timeframe=timeframe,
            klines=klines,
            reused=reused,
            longer=longer,
            compared=compared,
            interest=interest,
            requested=rows.times,
            late_ms=late_ms,
            all_interest=due or incomplete or again,
        )

    def _read(self, timeframe: Timeframe, key: str) -> MarketSeries | None:
        return _read(self._documents, timeframe, key)

    def _is_complete(self, series: MarketSeries) -> bool:
        """Whether the series has all candles since the start of the present window.

        One that begins later is of a young market, or was collected with a shorter history;
        in the latter case no series of the document reaches back to the start.
        """
        if series.rows and first_time(series.rows) <= self._start_ms:
            return True
        return series.stale_since_ms is None and self._is_window_covered()

    def _is_window_covered(self) -> bool:
        """Whether a series of the document reaches back to the start of the window."""
        if self._some_cover_window is None:
            keys = islice(self._samples.get(self._timeframe, {}), SAMPLED_SERIES)
            self._some_cover_window = any(self._covers_window(key) for key in keys)
        return self._some_cover_window

    def _covers_window(self, key: str) -> bool:
        series = _read(self._samples, self._timeframe, key)
        return (
            series is not None
            and series.stale_since_ms is None
            and bool(series.rows)
            and first_time(series.rows) <= self._start_ms
        )

    def _fetch_start(self, exchange: Exchange, last_ms: int) -> int:
        """Open time of the first candle to fetch if the newest known one opened at `last_ms`."""
        step_ms = self._timeframe.interval_ms
        newest_ms = self._timeframe.floor(self._as_of_ms)
        span_ms = (VENUES[exchange].cheapest_candles - 1) * step_ms
        first_ms = min(newest_ms - span_ms, last_ms - LEAST_OVERLAP * step_ms)
        # Longer candles must be aggregated from all of their source candles.
        longest_ms = lcm(*(target.interval_ms for target in self._timeframe.produces))
        return -(-first_ms // longest_ms) * longest_ms

    def _longer_rows(self, market: Market, reused: Rows) -> dict[Timeframe, Rows] | None:
        """The old rows aggregated from the reused ones; None if the documents disagree."""
        found: dict[Timeframe, Rows] = {}
        for target in self._timeframe.produces[1:]:
            expected = aggregate(reused, self._timeframe, target, window_start_ms=self._start_ms)
            if not len(expected):
                continue
            known = self._read(target, market.key)
            if known is None or not (rows := Rows.of(known.rows)).is_finite():
                return None
            first_ms, last_ms = int(expected.times[0]), int(expected.times[-1])
            found[target] = rows.between(first_ms, last_ms)
            if not _same_candles(expected, found[target]):
                return None
        return found

    def _is_full_fetch_due(self, market: Market, series: MarketSeries) -> bool:
        """Whether the market's daily full fetch has become due since it was fetched."""
        return is_daily_moment_passed(market.key, series.checked_at_ms, self._as_of_ms)

    def _within_quota(self, exchange: Exchange, what: str, most: int) -> bool:
        self._quota_used[exchange, what] += 1
        return self._quota_used[exchange, what] <= most


def lacks_trades(market: Market, rows: Sequence[Row]) -> bool:
    """Whether rows begin without what the exchange tells of trades: they were stored before that
    was wanted, or made of candles without it."""
    if not VENUES[market.exchange].tells_trades or not len(rows):
        return False
    return bool(np.isnan(Rows.of(rows[:1]).column("trades")).any())


def _read(documents: SeriesByTimeframe, timeframe: Timeframe, key: str) -> MarketSeries | None:
    try:
        return documents.get(timeframe, {}).get(key)
    except UnreadableSeries as error:
        log.error("stored_series_unreadable", timeframe=timeframe, market=key, error=str(error))
        return None


def _well_formed(rows: Rows, timeframe: Timeframe) -> bool:
    times = rows.times
    rising = not (times % timeframe.interval_ms).any() and bool((times[1:] > times[:-1]).all())
    return rising and rows.is_finite()


def _same_candles(one: Rows, other: Rows) -> bool:
    # Not those of trades: where they differ, audits find it.
    sums, others = one.values[:, SUMMED], other.values[:, SUMMED]
    return (
        np.array_equal(one.times, other.times)
        and np.array_equal(one.values[:, UNSUMMED], other.values[:, UNSUMMED])
        and bool((np.abs(sums - others) <= _SAME_SUM * others).all())
    )
