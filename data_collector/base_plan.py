"""Plans one market's documents from its base: rows to keep, to make, and to ask for natively.

Fetches nothing; base_merge.py puts the rows together. The result is what a native collection of
all candles at the same instant would give:

- Closed rows of the earlier documents are kept, as long as no 5m candle from their beginning on
  was found changed, or read for the first time, after them; a new base has nothing to say of
  candles that it holds in part. So they are up to the first candle that they lack and the base
  proves.
- Every later candle is made from the base if that proves it (market/base_candles.py).
- The others are asked for natively; all of them, if the candles made from the base were found to be
  others than the exchange's.
- What was made at this very instant, and lacks nothing, is used as it is, unproven candles
  included.
- Open interest within the base's reach is the base's; the rest is asked for.

8h is made in the same way. What is asked for then covers whole candles of 8h, so that their sums
come from the exchange's texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import Final

import numpy as np

from data_collector.life_rows import is_of_life
from data_collector.task_builder import FetchTask, klines_task, open_interest_task
from market.base import FINAL_AFTER_MS, LATE_INTEREST_MS, Base, reach
from market.base_candles import MadeCandles, made_candles
from market.columns import column_index
from market.markets import Market, MarketSeries
from market.rows import Rows, Times, are_among
from market.timeframes import Timeframe

_INTEREST: Final = column_index("open_interest")
_NO_ROWS: Final = Rows.of(())


@dataclass(frozen=True, slots=True)
class Part:
    """One timeframe of a plan. `earlier`: the rows of its earlier document, of which `kept` are
    used as they are; `made`: the candles from the base, and those that it does not prove."""

    timeframe: Timeframe
    earlier: Rows
    kept: Rows
    made: MadeCandles
    stale_since_ms: int | None


@dataclass(frozen=True, slots=True)
class BasePlan:
    """How one market's documents of a collected timeframe, and those made from it, come about.

    `start_ms`: the start of the window. `checked_ms`: the `checked_at` of the earlier documents,
    None if nothing of them is used. `klines`: the candles to ask for, ascending and apart;
    `interest`: the snapshots to ask for, if any. Snapshots before `interest_from_ms` are not
    served any more.
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


def plan_from_base(
    market: Market,
    timeframe: Timeframe,
    base: Base | None,
    earlier: Mapping[Timeframe, MarketSeries],
    *,
    as_of_ms: int,
    history_candles: int,
    native: bool = False,
) -> BasePlan:
    """How the market's documents of `timeframe.produces` come about at `as_of_ms`.

    `earlier`: the market's series of the earlier documents, well formed, and holding every candle
    since the start of the present window that the exchange had. They count as absent if one is
    absent, of a time that has not come yet, of an earlier life, or disagrees with the others; so
    does a base of a time that has not come yet. `native`: nothing is made from the base, which only
    tells which candles have changed.
    """
    if base is not None:
        base = base.until(as_of_ms) if base.as_of_ms <= as_of_ms else None
    seen, base = base, None if native else base
    window = klines_task(timeframe, market, as_of_ms=as_of_ms, history_candles=history_candles)
    start_ms = timeframe.window_start(as_of_ms, history_candles)
    known = _usable(timeframe, earlier, as_of_ms)
    checked_ms = min(series.checked_at_ms for series in known) if known else None
    from_ms = window.start_ms
    ready = bool(known) and all(_is_whole(series, as_of_ms) for series in known)
    if ready:
        from_ms = as_of_ms + 1
    elif checked_ms is not None:
        from_ms = max(from_ms, _first_to_remake(timeframe, seen, checked_ms))
    kept = [Rows.of(series.rows).between(start_ms, from_ms - 1) for series in known]
    if kept and not ready:
        if base is not None:
            hole_ms = _first_to_fill(market, timeframe, base, kept[0], from_ms, as_of_ms)
        else:
            hole_ms = _first_left_out(timeframe, known[0], from_ms)
        if hole_ms < from_ms:
            from_ms = max(hole_ms, window.start_ms)
            kept = [rows.between(start_ms, from_ms - 1) for rows in kept]
    if kept and not (
        is_of_life(market, kept[0], timeframe.interval_ms) and _agree(timeframe, kept, start_ms)
    ):
        known, kept, checked_ms, from_ms, ready = [], [], None, window.start_ms, False
    parts = []
    for index, target in enumerate(timeframe.produces):
        # A longer candle may begin before the first that is remade, but not before the window.
        first_ms = from_ms if ready else max(target.floor(from_ms), start_ms)
        made = made_candles(
            base,
            target,
            first_ms=-(-first_ms // target.interval_ms) * target.interval_ms,
            as_of_ms=as_of_ms,
            since_ms=market.since_ms,
        )
        if known:
            series = known[index]
            rows = Rows.of(series.rows)
            parts.append(Part(target, rows, kept[index], made, series.stale_since_ms))
        else:
            parts.append(Part(target, _NO_ROWS, _NO_ROWS, made, None))
    opens = _asked(parts, window)
    spans = _spans(opens, timeframe.interval_ms) if len(opens) else []
    whole = open_interest_task(
        timeframe, market, as_of_ms=as_of_ms, history_candles=history_candles
    )
    interest = None
    if whole is not None and not ready:
        late_ms = 0
        if checked_ms is not None and not known[0].lacks_open_interest:
            late_ms = checked_ms - LATE_INTEREST_MS
        interest = _interest(whole, base, parts[0], opens, from_ms=from_ms, late_ms=late_ms)
    return BasePlan(
        market=market,
        timeframe=timeframe,
        base=base,
        as_of_ms=as_of_ms,
        start_ms=start_ms,
        checked_ms=checked_ms,
        parts=tuple(parts),
        klines=tuple(_narrowed(window, *span) for span in spans),
        interest=interest,
        interest_from_ms=as_of_ms + 1 if whole is None else whole.start_ms,
    )


def _usable(
    timeframe: Timeframe, earlier: Mapping[Timeframe, MarketSeries], as_of_ms: int
) -> list[MarketSeries]:
    """The series of all documents, or none."""
    known = [earlier[target] for target in timeframe.produces if target in earlier]
    whole = len(known) == len(timeframe.produces)
    return known if whole and all(s.checked_at_ms <= as_of_ms for s in known) else []


def _is_whole(series: MarketSeries, as_of_ms: int) -> bool:
    """Whether the series is what a collection at this very instant gave, with nothing amiss."""
    amiss = series.lacks_open_interest or series.awaits_open_interest or series.left_out
    return series.checked_at_ms == as_of_ms and series.stale_since_ms is None and not amiss


def _first_to_remake(timeframe: Timeframe, base: Base | None, checked_ms: int) -> int:
    """The open time of the first candle that was not final at `checked_ms`, or that holds a 5m
    candle which is not as it was then; on the grid of the longest timeframe."""
    unsettled_ms = checked_ms - FINAL_AFTER_MS
    longest_ms = lcm(*(target.interval_ms for target in timeframe.produces))
    changed_ms = base.first_read_after(checked_ms) if base is not None else None
    if changed_ms is not None:
        if base is not None and base.is_newer(checked_ms) and not _is_young(base):
            # A candle that it holds in part alone was final in the documents, unless one of its
            # slots has changed since the base was begun. Of a young market it may also be that
            # every slot was read again since.
            changed_ms += -changed_ms % longest_ms
            again_ms = base.first_read_again_ms()
            if again_ms is not None:
                changed_ms = min(changed_ms, again_ms)
        unsettled_ms = min(unsettled_ms, changed_ms)
    return unsettled_ms // longest_ms * longest_ms


def _is_young(base: Base) -> bool:
    """Whether the base begins with the market's first candle, later than its reach."""
    return base.first_ms > reach(base.as_of_ms)


def _first_to_fill(
    market: Market, timeframe: Timeframe, base: Base, kept: Rows, from_ms: int, as_of_ms: int
) -> int:
    """The open time of the first candle that the kept rows lack and the base proves, on the grid of
    the longest timeframe; `from_ms` if there is none.

    A collection without the base got an answer without it, or an invalid one.
    """
    step_ms = timeframe.interval_ms
    if not len(kept) or len(kept) * step_ms == from_ms - int(kept.times[0]):
        return from_ms
    first_ms = max(int(kept.times[0]), -(-base.first_ms // step_ms) * step_ms)
    made = made_candles(
        base, timeframe, first_ms=first_ms, as_of_ms=as_of_ms, since_ms=market.since_ms
    )
    times = made.rows.times
    lacking = times[(times < from_ms) & ~are_among(times, kept.times)]
    longest_ms = lcm(*(target.interval_ms for target in timeframe.produces))
    return int(lacking[0]) // longest_ms * longest_ms if len(lacking) else from_ms


def _first_left_out(timeframe: Timeframe, series: MarketSeries, from_ms: int) -> int:
    """The open time of the first candle that was sent as an invalid row, on the grid of the longest
    timeframe; `from_ms` if there is none before. Without a base only the exchange can tell it."""
    told = series.left_out.get("klines", ())
    longest_ms = lcm(*(target.interval_ms for target in timeframe.produces))
    first_ms = min((row.slot_ms(timeframe.interval_ms) for row in told), default=from_ms)
    return min(first_ms // longest_ms * longest_ms, from_ms)


def _agree(timeframe: Timeframe, kept: Sequence[Rows], start_ms: int) -> bool:
    """Whether the kept longer rows are those that the first ones make."""
    for target, longer in zip(timeframe.produces[1:], kept[1:], strict=True):
        opens = longer_opens(kept[0].times, target)
        if not np.array_equal(opens[opens >= start_ms], longer.times):
            return False
    return True


def longer_opens(times: Times, target: Timeframe) -> Times:
    """The open times of the longer candles that hold these."""
    opens = times - times % target.interval_ms
    return opens[np.flatnonzero(np.diff(opens, prepend=-1))]


def _asked(parts: Sequence[Part], window: FetchTask) -> Times:
    """The open times of the candles to ask for: those that are not proven, and all that make a
    longer one that is not."""
    opens = parts[0].made.unproven
    for part in parts[1:]:
        steps = np.arange(0, part.timeframe.interval_ms, window.step_ms)
        opens = np.union1d(opens, (part.made.unproven[:, None] + steps).ravel())
    if not len(opens):
        return opens
    return opens[(opens >= window.start_ms) & (opens <= window.end_ms)]


def _spans(opens: Times, step_ms: int) -> list[tuple[int, int]]:
    """The first and last of each series of adjacent times."""
    breaks = np.flatnonzero(np.diff(opens) != step_ms)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(opens) - 1)
    return list(zip(opens[firsts].tolist(), opens[lasts].tolist(), strict=True))


def _interest(
    whole: FetchTask, base: Base | None, part: Part, opens: Times, *, from_ms: int, late_ms: int
) -> FetchTask | None:
    """The snapshots that the base has not asked for: of the rows that are made or asked for, and
    of kept ones later than `late_ms` that lack theirs."""
    if base is not None:
        covered = base.first_ms <= min(from_ms, late_ms) and whole.end_ms <= base.interest_ms
        if covered:
            return None
    kept = part.kept
    begin = int(np.searchsorted(kept.times, late_ms, side="right"))
    lacking = kept.times[begin:][np.isnan(kept.values[begin:, _INTEREST])]
    times = np.concatenate((lacking, opens, part.made.rows.times))
    if base is not None:
        times = times[(times < base.first_ms) | (times > base.interest_ms)]
    times = times[times >= whole.start_ms]
    return _narrowed(whole, int(times.min()), int(times.max())) if len(times) else None


def _narrowed(task: FetchTask, start_ms: int, end_ms: int) -> FetchTask:
    newest_ms = min(end_ms, task.newest_ms)
    return replace(task, start_ms=start_ms, end_ms=end_ms, newest_ms=newest_ms)
