"""One market's documents from its base: which rows are kept, made, or asked for natively.

Plans and merges; fetches nothing. The result is what a native collection of all candles at the
same instant would give:

- Closed rows of the earlier documents are kept, as long as no 5m candle from their beginning on
  was found changed, or read for the first time, after them.
- Every later candle is made from the base if that proves it (market/base_candles.py).
- The others are asked for natively. Where that fails, rows that had closed in the earlier document
  stay, and the forming one if it still forms; one that has closed since is left out, and the
  market is stale since its close.
- Open interest within the base's reach is the base's. Funding rates are merged anew.

8h is made in the same way. What is asked for covers whole candles of 8h, so that their sums come
from the exchange's texts; open interest and funding rates come from the 4h rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import Final

import numpy as np

from data_collector.data_processing import fill_rates
from data_collector.life_rows import (
    begin_of_life,
    first_of_life,
    is_of_life,
    settlements_of_life,
)
from data_collector.task_builder import FetchTask, klines_task, open_interest_task
from market.aggregation import aggregate, with_merged
from market.base import FINAL_AFTER_MS, LATE_INTEREST_MS, STEP_MS, Base
from market.base_candles import MadeCandles, made_candles
from market.candles import Candle, Candles
from market.columns import CANDLE, column_index
from market.markets import FundingSeries, Market, MarketSeries
from market.rows import Rows, TimedValues, Times
from market.timeframes import Timeframe

_VOLUME: Final = column_index("volume")
_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")
_NO_ROWS: Final = Rows.of(())


@dataclass(frozen=True, slots=True)
class Part:
    """One timeframe of the plan. `kept`: closed rows of the earlier document; `old`: its later
    rows, used only where nothing newer is known; `made`: candles from the base."""

    timeframe: Timeframe
    kept: Rows
    old: Rows
    made: MadeCandles
    stale_since_ms: int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The series of each timeframe; `funding_outdated` as in data_processing.Merged."""

    series: Mapping[Timeframe, MarketSeries]
    funding_outdated: bool


@dataclass(frozen=True, slots=True)
class FromBase:
    """How one market's documents of a collected timeframe, and those made from it, come about.

    `klines`: the candles to ask for natively, ascending, apart. `interest`: the snapshots to ask
    for natively, None if the base has all that can be had. `checked_ms`: the `checked_at` of the
    earlier documents, None if nothing of them is used.
    """

    market: Market
    timeframe: Timeframe
    base: Base | None
    as_of_ms: int
    start_ms: int
    checked_ms: int | None
    parts: tuple[Part, ...]
    klines: tuple[FetchTask, ...]
    interest: FetchTask | None
    interest_from_ms: int

    def finish(
        self,
        native: Sequence[Sequence[Candle] | None],
        snapshots: Sequence[tuple[int, float]],
        funding: FundingSeries | None,
        *,
        lacks_open_interest: bool = False,
    ) -> Finished | None:
        """The series, with the candles of each task of `klines` (None: its request failed) and the
        snapshots of `interest`. None: a request failed and there are no earlier documents to use.
        """
        answers = [Candles.of(candles) for candles in native if candles is not None]
        failed = [task for task, got in zip(self.klines, native, strict=True) if got is None]
        if failed and self.checked_ms is None:
            return None
        checked_ms = self.checked_ms if failed else None
        if checked_ms is None:
            checked_ms = self.as_of_ms if self.base is None else self.base.as_of_ms
        series: dict[Timeframe, MarketSeries] = {}
        rows, outdated = _NO_ROWS, False
        for part in self.parts:
            lacking, unknown_ms = self._failed(part, failed)
            if part.timeframe is self.timeframe:
                fetched = [_rows_of(candles) for candles in answers]
                candles = _joined([part.kept, part.made.rows, lacking, *fetched])
                rows, outdated = self._merged(part, candles, snapshots, funding)
                made = rows
            else:
                fetched = self._aggregated(answers, rows, part.timeframe)
                candles = _joined([part.kept, part.made.rows, lacking, *fetched])
                made = self._longer(candles, rows, part.timeframe)
            moments = [part.stale_since_ms, unknown_ms, self.as_of_ms]
            stale_ms = min(moment for moment in moments if moment is not None)
            series[part.timeframe] = MarketSeries(
                self.market,
                made,
                checked_ms,
                stale_ms if failed else None,
                lacks_open_interest,
            )
        return Finished(series, outdated)

    def _failed(self, part: Part, failed: Sequence[FetchTask]) -> tuple[Rows, int | None]:
        """The old rows that stay because a request failed, and the close of the first candle that
        has closed since the earlier document and is left out."""
        if not failed or self.checked_ms is None:
            return _NO_ROWS, None
        step_ms, opens = part.timeframe.interval_ms, part.made.unproven
        asked = np.zeros(len(opens), np.bool_)
        for task in failed:
            asked |= (opens + step_ms > task.start_ms) & (opens <= task.end_ms)
        opens = opens[asked]
        was_closed = opens + step_ms <= self.checked_ms
        closed_since = ~was_closed & (opens + step_ms <= self.as_of_ms)
        stay = part.old.select(np.flatnonzero(np.isin(part.old.times, opens[~closed_since])))
        return stay, int(opens[closed_since][0]) + step_ms if closed_since.any() else None

    def _merged(
        self,
        part: Part,
        rows: Rows,
        snapshots: Sequence[tuple[int, float]],
        funding: FundingSeries | None,
    ) -> tuple[Rows, bool]:
        """The rows of the present life with open interest and funding rates."""
        market, step_ms, cut = self.market, self.timeframe.interval_ms, False
        if not is_of_life(market, rows, step_ms):
            cut = True
            rows = rows[first_of_life(market, rows.times, rows.values[:, _VOLUME], step_ms) :]
        times, values = rows.times, rows.values
        if not len(times):
            return rows, funding is None
        interest = values[:, _INTEREST]
        base = self.base
        if base is not None:
            begin = int(np.searchsorted(times, base.first_ms))
            found = base.values[(times[begin:] - base.first_ms) // STEP_MS, _INTEREST]
            interest[begin:] = np.where(np.isnan(found), interest[begin:], found)
        if len(snapshots):
            found_at = TimedValues.of(snapshots)
            lines = np.searchsorted(found_at.times, times)
            lines[lines == len(found_at)] = 0
            there = found_at.times[lines] == times
            interest[there] = found_at.numbers[lines[there]]
        begin_ms = begin_of_life(market, int(times[0]), step_ms)
        first_ms = self.interest_from_ms
        if market.since_ms or cut or (len(part.kept) and np.isnan(part.kept.values[0, _INTEREST])):
            first_ms = max(first_ms, begin_ms)
        interest[: np.searchsorted(times, first_ms)] = np.nan
        values[:, _RATE] = np.nan
        funding = funding and settlements_of_life(funding, begin_ms)
        return rows, fill_rates(funding, times, values[:, _RATE], step_ms, self.as_of_ms)

    def _aggregated(self, answers: Sequence[Candles], rows: Rows, target: Timeframe) -> list[Rows]:
        """The answers' candles of the present life, aggregated with the sums of their texts."""
        if not len(rows):
            return []
        ours = [candles.between(int(rows.times[0]), self.as_of_ms) for candles in answers]
        return [
            aggregate(
                _rows_of(candles),
                self.timeframe,
                target,
                window_start_ms=self.start_ms,
                exact=candles.texts,
            )
            for candles in ours
            if len(candles)
        ]

    def _longer(self, candles: Rows, rows: Rows, target: Timeframe) -> Rows:
        """The longer candles that have rows, with what is merged to these."""
        if not len(rows):
            return _NO_ROWS
        opens, counts = np.unique(rows.times - rows.times % target.interval_ms, return_counts=True)
        longer = candles.select(np.flatnonzero(np.isin(candles.times, opens)))
        if len(longer) and longer.times[0] < rows.times[0]:
            # The life begins within its first candle, or the exchange has a hole there.
            first = rows[: int(counts[0])]
            longer.values[:1] = aggregate(first, self.timeframe, target, window_start_ms=0).values
        return with_merged(longer, rows, target)


def plan_from_base(
    market: Market,
    timeframe: Timeframe,
    base: Base | None,
    earlier: Mapping[Timeframe, MarketSeries],
    *,
    as_of_ms: int,
    history_candles: int,
) -> FromBase:
    """How the market's documents of `timeframe.produces` come about at `as_of_ms`.

    `earlier`: the market's series of the earlier documents, well formed, and holding every candle
    since the start of the present window that the exchange had. One of a time that has not come
    yet, of an earlier life, or that disagrees with the others counts as absent, as does such a
    base.
    """
    if base is not None:
        base = base.until(as_of_ms) if base.as_of_ms <= as_of_ms else None
    window = klines_task(timeframe, market, as_of_ms=as_of_ms, history_candles=history_candles)
    start_ms = timeframe.window_start(as_of_ms, history_candles)
    longest_ms = lcm(*(target.interval_ms for target in timeframe.produces))
    known = [earlier[target] for target in timeframe.produces if target in earlier]
    checked_ms = min((series.checked_at_ms for series in known), default=0)
    newest_ms = max((series.checked_at_ms for series in known), default=0)
    from_ms = window.start_ms
    if len(known) == len(timeframe.produces) and newest_ms <= as_of_ms:
        changed_ms = base.first_read_after(checked_ms) if base is not None else None
        settled_ms = checked_ms - FINAL_AFTER_MS
        unsettled_ms = settled_ms if changed_ms is None else min(settled_ms, changed_ms)
        from_ms = max(from_ms, unsettled_ms // longest_ms * longest_ms)
        kept = [Rows.of(series.rows).between(start_ms, from_ms - 1) for series in known]
        if not is_of_life(market, kept[0], timeframe.interval_ms) or not _agree(
            timeframe, kept, start_ms
        ):
            known, from_ms = [], window.start_ms
    else:
        known = []
    parts = []
    whole_ms = max(from_ms // longest_ms * longest_ms, start_ms)
    for index, target in enumerate(timeframe.produces):
        made = made_candles(
            base,
            target,
            first_ms=from_ms
            if target is timeframe
            else -(-whole_ms // target.interval_ms) * target.interval_ms,
            as_of_ms=as_of_ms,
            since_ms=market.since_ms,
        )
        if known:
            old = Rows.of(known[index].rows).between(from_ms, as_of_ms)
            parts.append(Part(target, kept[index], old, made, known[index].stale_since_ms))
        else:
            parts.append(Part(target, _NO_ROWS, _NO_ROWS, made, None))
    opens = _asked(parts, window)
    whole = open_interest_task(
        timeframe, market, as_of_ms=as_of_ms, history_candles=history_candles
    )
    late_ms = 0 if any(series.lacks_open_interest for series in known) else checked_ms
    return FromBase(
        market=market,
        timeframe=timeframe,
        base=base,
        as_of_ms=as_of_ms,
        start_ms=start_ms,
        checked_ms=checked_ms if known else None,
        parts=tuple(parts),
        klines=tuple(_narrowed(window, *span) for span in _spans(opens, timeframe.interval_ms)),
        interest=whole and _interest(whole, base, parts[0], opens, late_ms - LATE_INTEREST_MS),
        interest_from_ms=as_of_ms + 1 if whole is None else whole.start_ms,
    )


def _agree(timeframe: Timeframe, kept: Sequence[Rows], start_ms: int) -> bool:
    """Whether the kept longer rows are those that the first ones make."""
    for target, longer in zip(timeframe.produces[1:], kept[1:], strict=True):
        opens = np.unique(kept[0].times - kept[0].times % target.interval_ms)
        if not np.array_equal(opens[opens >= start_ms], longer.times):
            return False
    return True


def _asked(parts: Sequence[Part], window: FetchTask) -> Times:
    """The open times of the candles to ask for: those that are not proven, and all that make a
    longer one that is not."""
    opens = parts[0].made.unproven
    for part in parts[1:]:
        steps = np.arange(0, part.timeframe.interval_ms, window.step_ms)
        opens = np.union1d(opens, (part.made.unproven[:, None] + steps).ravel())
    return opens[(opens >= window.start_ms) & (opens <= window.end_ms)]


def _spans(opens: Times, step_ms: int) -> list[tuple[int, int]]:
    """The first and last of each series of adjacent times."""
    if not len(opens):
        return []
    breaks = np.flatnonzero(np.diff(opens) != step_ms)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(opens) - 1)
    return list(zip(opens[firsts].tolist(), opens[lasts].tolist(), strict=True))


def _interest(
    whole: FetchTask, base: Base | None, part: Part, opens: Times, after_ms: int
) -> FetchTask | None:
    """The snapshots that the base has not asked for: of the rows that are made or asked for, and
    of kept ones later than `after_ms` that lack theirs."""
    kept = part.kept
    begin = int(np.searchsorted(kept.times, after_ms, side="right"))
    lacking = kept.times[begin:][np.isnan(kept.values[begin:, _INTEREST])]
    times = np.concatenate((lacking, opens, part.made.rows.times))
    if base is not None:
        times = times[(times < base.first_ms) | (times > base.interest_ms)]
    times = times[times >= whole.start_ms]
    return _narrowed(whole, int(times.min()), int(times.max())) if len(times) else None


def _narrowed(task: FetchTask, start_ms: int, end_ms: int) -> FetchTask:
    newest_ms = min(end_ms, task.newest_ms)
    return replace(task, start_ms=start_ms, end_ms=end_ms, newest_ms=newest_ms)


def _rows_of(candles: Candles) -> Rows:
    values = np.full((len(candles), len(Rows.names)), np.nan)
    values[:, CANDLE] = candles.values
    return Rows(candles.times, values)


def _joined(parts: Sequence[Rows]) -> Rows:
    """A copy of all rows, ascending; of two with one time the later part's is used."""
    return Rows.joined([part for part in parts if len(part)] or [_NO_ROWS])
