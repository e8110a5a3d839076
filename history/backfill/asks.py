"""Asks: the windows in which what a series lacks is asked for, a page each, newest first. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from history.backfill.ranges import Range, ceil, floor
from history.backfill.series import Series
from market.settlements import LONGEST_INTERVAL_HOURS
from market.timeframes import HOUR_MS, MINUTE_MS
from venues.venue import Order

_DAY_PART_MS = LONGEST_INTERVAL_HOURS * HOUR_MS


@dataclass(frozen=True, slots=True)
class Ask:
    """A window of a series, from `from_ms` to before `to_ms`; one page of the exchange's holds it.
    Of settlements it may take more pages, where they were more frequent than they usually are."""

    series: Series
    from_ms: int
    to_ms: int

    @property
    def rows(self) -> int:
        """How many rows it may have; of settlements usually has."""
        return -(-(self.to_ms - self.from_ms) // self.series.step_ms)

    @property
    def weight(self) -> int:
        """What it costs of the limit."""
        table = self.series.stage.table
        return table.weight(min(self.rows, table.page_limit))


def asks(series: Series, allowed: Sequence[Range], missing: Iterable[Range]) -> Iterator[Ask]:
    """The windows that have all of `missing`, the newest first.

    `allowed`: the ranges that `missing` lies in, each ascending. Where little is missing here and
    there, one window has all that a page can hold; it never leaves an allowed range, as what lies
    outside of them is not asked for.
    """
    for ask, count in runs(series, allowed, missing):
        length_ms = ask.to_ms - ask.from_ms
        for before_ms in range(0, count * length_ms, length_ms):
            yield Ask(series, ask.from_ms - before_ms, ask.to_ms - before_ms)


def runs(
    series: Series, allowed: Sequence[Range], missing: Iterable[Range]
) -> Iterator[tuple[Ask, int]]:
    """The same, counted: a window, and how many as long as it end where the one after them begins,
    itself included. Years of one series are a few of them."""
    parts = sorted(missing, reverse=True)
    for begin_ms, end_ms in sorted(allowed, reverse=True):
        inside = [
            (max(from_ms, begin_ms), min(to_ms, end_ms))
            for from_ms, to_ms in parts
            if from_ms < end_ms and begin_ms < to_ms
        ]
        yield from _runs(series, _whole_longer(series, (begin_ms, end_ms), inside))


def _whole_longer(series: Series, allowed: Range, missing: Sequence[Range]) -> Sequence[Range]:
    """The ranges, which descend, as whole ones of the longest candles that are made of these: one
    that was made without a part of it, which the exchange had not yet, is made again."""
    if not series.stage.makes:
        return missing
    grid_ms = max(each.interval_ms for each in series.stage.makes)
    found: list[Range] = []
    for from_ms, to_ms in missing:
        part = max(floor(from_ms, grid_ms), allowed[0]), min(ceil(to_ms, grid_ms), allowed[1])
        if found and found[-1][0] <= part[1]:
            found[-1] = min(found[-1][0], part[0]), found[-1][1]
        else:
            found.append(part)
    return found


def _runs(series: Series, missing: Sequence[Range]) -> Iterator[tuple[Ask, int]]:
    """Of one allowed range; `missing` descends."""
    at, to_ms = 0, missing[0][1] if missing else 0
    while at < len(missing):
        start_ms = _start(series, to_ms)
        from_ms = to_ms
        while at < len(missing) and missing[at][1] > start_ms:
            from_ms = max(start_ms, missing[at][0])
            if missing[at][0] < start_ms:
                break
            at += 1
        ask, count = Ask(series, from_ms, to_ms), 1
        if at < len(missing) and from_ms == start_ms:
            # Whole windows that follow within the same range.
            length_ms = start_ms - _start(series, start_ms)
            if length_ms == to_ms - from_ms and missing[at][1] > start_ms:
                whole = (start_ms - missing[at][0]) // length_ms
                count, start_ms = 1 + whole, start_ms - whole * length_ms
                at += start_ms == missing[at][0]
        yield ask, count
        if at < len(missing):
            to_ms = min(missing[at][1], start_ms)


def _start(series: Series, to_ms: int) -> int:
    """The earliest start of a page that ends before `to_ms`.

    Candles that longer ones are made of lie on pages of whole longer ones. A window of settlements
    begins and ends where its page shows by itself that nothing is lacking at either end: exchanges
    that answer in ascending order are not asked for more within an hour of the last row, those that
    answer in descending order within an hour of the first.
    """
    stage = series.stage
    page_ms = stage.table.page_limit * series.step_ms
    if stage.period is not None:
        grid_ms = max((each.interval_ms for each in stage.makes), default=series.step_ms)
        start_ms = ceil(to_ms - page_ms, grid_ms)
        return start_ms if start_ms < to_ms else to_ms - series.step_ms
    descends = stage.table.order is Order.DESCENDING
    offset_ms = (_DAY_PART_MS - HOUR_MS if descends else 0) + MINUTE_MS
    return ceil(to_ms - page_ms - offset_ms, _DAY_PART_MS) + offset_ms


def in_turn(lists: Iterable[Iterator[Ask]]) -> Iterator[Ask]:
    """The asks of many series: the newest of each, then the next ones, and so on."""
    left = [*lists]
    while left:
        still = []
        for each in left:
            if (ask := next(each, None)) is not None:
                yield ask
                still.append(each)
        left = still
