"""The rule of holes: which instants of a series nothing is stored of, and what is known of why.

No I/O. A hole lies within the listed life of its market and after the first stored row of its
series, and was public for longer than an hour. What the exchange said of it comes from checks.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from database import HoleState, Listing, NotedHole, SeriesKey
from market.rows import Times
from market.settlements import LONGEST_INTERVAL_HOURS, lacking_after, settlement_instant
from market.timeframes import DAY_MS, HOUR_MS

# What came late from an exchange has come by then, and documents have been published since.
SETTLED_MS: Final = HOUR_MS
# An exchange that has nothing now may have it later; what it lacks a day later, it lacks.
ASKED_AGAIN_AFTER_MS: Final = DAY_MS
_TRADED_BEFORE_LAUNCH_MS: Final = DAY_MS
_LONGEST_INTERVAL_MS: Final = LONGEST_INTERVAL_HOURS * HOUR_MS

Range = tuple[int, int]  # UTC ms; the second is exclusive


@dataclass(frozen=True, slots=True)
class Checks:
    """The exchange answered for all of this range, on the grid of `step_ms`, at two times that are
    known, the first and the last (UTC ms); one check is both."""

    from_ms: int
    to_ms: int
    first_ms: int
    last_ms: int
    step_ms: int = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a series beside its rows.

    `window`: what the newest document shows of it, None if no document does. `horizon_ms`: the
    exchange tells nothing from before, None if it tells all. `checks`: lists of them, each
    ascending without overlaps.
    """

    window: Range | None
    horizon_ms: int | None
    checks: Sequence[Sequence[Checks]]


def lives_of(listings: Iterable[Listing], now_ms: int) -> list[Range]:
    """When a market was listed, by all its listings: ascending, apart from each other.

    The first life begins a day before the launch, as trading may have, or with whatever is stored.
    A later one begins at its own launch, or where the exchange's list had the market again.
    """
    found: list[Range] = []
    for each in sorted(listings, key=lambda listing: listing.listed_from_ms):
        ended_ms = found[-1][1] if found else 0
        begin_ms = max(0, each.launched_ms - _TRADED_BEFORE_LAUNCH_MS)
        if found:
            own = ended_ms < each.launched_ms <= each.listed_from_ms
            begin_ms = each.launched_ms if own else max(ended_ms, each.listed_from_ms)
        end_ms = now_ms if each.listed_to_ms is None else min(each.listed_to_ms, now_ms)
        if begin_ms < end_ms:
            found.append((begin_ms, end_ms))
    return found


def expected_ranges(
    key: SeriesKey,
    lives: Sequence[Range],
    stored: Range,
    *,
    goes_on: bool,
    last_seen_ms: int,
    now_ms: int,
) -> list[Range]:
    """Where a series should have rows.

    `lives`: empty if nothing is known of the market's listings; what is stored is then taken for
    its life. `stored`: the times of the first and the last row. `goes_on`: rows are expected after
    the last one, too, as the market is listed and the series collected. `last_seen_ms`: when
    anything of the market was last traded; a list tells up to a day late that it is gone.
    """
    first_ms, last_ms = stored
    end_ms = last_ms + 1
    if goes_on:
        # The first time of which a row would not have been public for long.
        end_ms = max(end_ms, now_ms - SETTLED_MS - key.public_after_ms + 1)
    elif lives and lives[-1][1] < now_ms:
        end_ms = max(end_ms, min(lives[-1][1], last_seen_ms))
    return intersected(lives or [(first_ms, end_ms)], [(first_ms, end_ms)])


def interest_grid(candles: Mapping[int, Range]) -> list[tuple[Range, int]]:
    """Where open interest is expected, in which steps: at the opening of the finest candles that
    are there. `candles`: where those of each interval are; the answer's ranges ascend."""
    edges = sorted({edge for each in candles.values() for edge in each})
    found = []
    for begin, end in pairwise(edges):
        steps = [step for step, (first, last) in candles.items() if first <= begin < last]
        if steps:
            found.append(((begin, end), min(steps)))
    return found


def settlement_gaps(times: Times, end_ms: int, *, goes_on: bool) -> list[Range]:
    """Where settlements seem to be missing: after a distance that is longer than those around it,
    or than 8 hours; and before `end_ms`, if the series goes on."""
    if not len(times):
        return []
    index, unknown_from = lacking_after(times)
    found = list(zip(unknown_from.tolist(), times[index + 1].tolist(), strict=True))
    next_ms = settlement_instant(int(times[-1])) + _LONGEST_INTERVAL_MS
    if goes_on and next_ms < end_ms:
        found.append((next_ms, end_ms))
    return found


def find_holes(
    empty: Sequence[Range], step_ms: int, expected: Sequence[Range], evidence: Evidence, now_ms: int
) -> list[NotedHole]:
    """The holes among ranges without rows, ascending. `empty`, `expected`: ascending ranges that do
    not overlap; instants are the multiples of `step_ms`."""
    cuts = _cuts(evidence, step_ms)
    found: list[NotedHole] = []
    for begin, end in intersected(empty, expected):
        from_ms, to_ms = _ceiled(begin, step_ms), _ceiled(end, step_ms)
        if from_ms >= to_ms:
            continue
        inner = cuts[np.searchsorted(cuts, from_ms, "right") : np.searchsorted(cuts, to_ms)]
        for piece in pairwise([from_ms, *inner.tolist(), to_ms]):
            _add(found, _judged(piece, step_ms, evidence, now_ms))
    return found


def _cuts(evidence: Evidence, step_ms: int) -> Times:
    """The instants at which a state may change."""
    edges = [
        edge for some in evidence.checks for each in some for edge in (each.from_ms, each.to_ms)
    ]
    edges += evidence.window or ()
    edges += [evidence.horizon_ms] if evidence.horizon_ms is not None else []
    return np.unique([_ceiled(edge, step_ms) for edge in edges]).astype(np.int64)


def _judged(piece: Range, step_ms: int, evidence: Evidence, now_ms: int) -> NotedHole:
    at_ms = piece[0]
    around = [
        each
        for some in evidence.checks
        if (each := _around(some, at_ms)) is not None and step_ms % each.step_ms == 0
    ]
    # A check in the future, by a clock that went back, is none.
    times = [t for each in around for t in (each.first_ms, each.last_ms) if t <= now_ms]
    if not times:
        return NotedHole(*piece, step_ms, _unasked(at_ms, evidence))
    first_ms, last_ms = min(times), max(times)
    state = _unasked(at_ms, evidence)
    if last_ms - first_ms >= ASKED_AGAIN_AFTER_MS:
        state = "exchange"
    elif state == "not_asked":
        state = "asked"
    return NotedHole(*piece, step_ms, state, first_ms, last_ms)


def _around(some: Sequence[Checks], at_ms: int) -> Checks | None:
    at = bisect_right(some, at_ms, key=lambda each: each.from_ms) - 1
    return some[at] if at >= 0 and at_ms < some[at].to_ms else None


def _unasked(at_ms: int, evidence: Evidence) -> HoleState:
    if evidence.window is not None and evidence.window[0] <= at_ms < evidence.window[1]:
        return "document"
    if evidence.horizon_ms is not None and at_ms < evidence.horizon_ms:
        return "out_of_reach"
    return "not_asked"


def _add(found: list[NotedHole], hole: NotedHole) -> None:
    """Adds a hole, joined with the one before if that ends where it begins and is alike."""
    last = found[-1] if found else None
    if last is not None and last.to_ms == hole.from_ms:
        said = (hole.step_ms, hole.state, hole.first_asked_ms, hole.asked_ms)
        if (last.step_ms, last.state, last.first_asked_ms, last.asked_ms) == said:
            found[-1] = NotedHole(last.from_ms, hole.to_ms, *said)
            return
    found.append(hole)


def intersected(left: Sequence[Range], right: Sequence[Range]) -> list[Range]:
    """What is in both: each ascending, without overlaps."""
    found, at, other = [], 0, 0
    while at < len(left) and other < len(right):
        begin = max(left[at][0], right[other][0])
        end = min(left[at][1], right[other][1])
        if begin < end:
            found.append((begin, end))
        if left[at][1] <= right[other][1]:
            at += 1
        else:
            other += 1
    return found


def _ceiled(time_ms: int, step_ms: int) -> int:
    """The first instant of the grid that is not before that time."""
    return -(-time_ms // step_ms) * step_ms
