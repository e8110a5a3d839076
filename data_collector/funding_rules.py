"""When a market settles funding, and up to when its settlements are known; pure rules.

Settlements lie on full hours, at the multiples of the market's interval counted from 00:00 UTC.
An interval may change at any settlement, and the lists of the exchanges show that minutes later.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from data_collector.listings import FundingSchedule
from market.columns import TIME
from market.markets import FundingRow, FundingSeries
from market.timeframes import HOUR_MS, MINUTE_MS

# For so long after a full hour a settlement may not be published yet, nor a changed interval.
PUBLICATION_MS: Final = 4 * MINUTE_MS
# A settlement that is due and late is waited for so long, then held to be left out.
OVERDUE_MS: Final = 30 * MINUTE_MS
SHORTEST_INTERVAL_HOURS: Final = 1
LONGEST_INTERVAL_HOURS: Final = 8
_INTERVALS_HOURS: Final = (1, 2, 4, 8)


def settlement_instant(funding_ms: int) -> int:
    """The instant that a settlement belongs to: its stamp may be late by some ms."""
    return funding_ms - funding_ms % MINUTE_MS


def due_instants(after_ms: int, until_ms: int, interval_hours: int) -> range:
    """The instants later than `after_ms`, up to `until_ms`, at which a settlement falls."""
    step_ms = interval_hours * HOUR_MS
    return range(after_ms - after_ms % step_ms + step_ms, until_ms + 1, step_ms)


def may_have_settled(series: FundingSeries, now_ms: int, present_hours: int | None) -> bool:
    """Whether there may be a settlement that the series does not hold.

    By the interval it was last seen with and by the present one; where the present one is not
    known, by the shortest there is.
    """
    return any(
        due_instants(series.checked_at_ms, now_ms, hours)
        for hours in (series.interval_hours, present_hours or SHORTEST_INTERVAL_HOURS)
    )


def complete_until(
    rows: Sequence[FundingRow], asked_ms: int, told: FundingSchedule | None = None
) -> int:
    """Up to when an answer to a request of `asked_ms` (exchange time) is known to be complete.

    The settlement of the hour that has just begun may not be published yet, nor be on the grid
    of an interval that we know of: without it the answer is complete only up to that hour. One
    that is due by the interval the exchange tells is waited for longer.
    """
    last_ms = settlement_instant(rows[-1][TIME]) if rows else 0
    waits = [(SHORTEST_INTERVAL_HOURS, PUBLICATION_MS)]
    if told is not None:
        waits.insert(0, (told.interval_hours, OVERDUE_MS))
    for hours, wait_ms in waits:
        instant = asked_ms - asked_ms % (hours * HOUR_MS)
        if last_ms < instant and asked_ms - instant < wait_ms:
            return instant - 1
    return asked_ms


def advanced(series: FundingSeries, now_ms: int, interval_hours: int) -> FundingSeries:
    """The series of a market that cannot have settled since it was checked."""
    checked_at_ms = max(series.checked_at_ms, complete_until(series.rows, now_ms))
    return replace(series, checked_at_ms=checked_at_ms, interval_hours=interval_hours)


def present_interval(rows: Sequence[FundingRow], told: FundingSchedule | None) -> int:
    """The interval in force, in hours, on the safe side: never longer than the evidence says.

    Too short costs a request and a moment without a rate; too long would pass off an old rate as
    the present one. A told interval counts. Where it is a mere convention for symbols that are
    not listed, or nothing is told, the distances between the last two settlements and from the
    last to the next count, too.
    """
    hours = told.interval_hours if told is not None else LONGEST_INTERVAL_HOURS
    next_ms = told.next_ms if told is not None else None
    if told is None or told.assumed:
        hours = min([hours, *_observed_hours(rows, next_ms)])
    if next_ms and next_ms % HOUR_MS == 0:
        # A next settlement off the grid of the interval: a shorter one has begun.
        while next_ms % (hours * HOUR_MS):
            hours = max(shorter for shorter in range(1, hours) if hours % shorter == 0)
    return hours


def _observed_hours(rows: Sequence[FundingRow], next_ms: int | None) -> list[int]:
    """The distances of the last settlements, and from the last to the next, that are intervals."""
    instants = [settlement_instant(time_ms) for time_ms, _ in rows[-2:]]
    if next_ms and instants and next_ms > instants[-1]:
        instants.append(next_ms)
    distances = [later - earlier for earlier, later in pairwise(instants)]
    return [hours for hours in _INTERVALS_HOURS if hours * HOUR_MS in distances]


def newest(rows: Iterable[FundingRow], known: Sequence[FundingRow], keep: int) -> list[FundingRow]:
    """The newest `keep` settlements of what was known and what came; each instant once.

    What was known stays as it is, so asking again changes nothing.
    """
    by_instant = {settlement_instant(row[TIME]): row for row in rows}
    by_instant.update((settlement_instant(row[TIME]), row) for row in known)
    return [by_instant[instant] for instant in sorted(by_instant)][-keep:]
