"""Pure rules of funding: when a market settles, and up to when its settlements are known.

Settlements fall on multiples of the market's interval, counted in hours from 00:00 UTC. An
interval may change at any settlement; the exchanges' lists show that minutes later.
data_processing.py puts the rates on candles.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from data_collector.listings import FundingSchedule
from market.columns import TIME
from market.left_out import LeftOut, at_most_named
from market.markets import FundingRow, FundingSeries
from market.settlements import LONGEST_INTERVAL_HOURS, settlement_instant
from market.timeframes import HOUR_MS, MINUTE_MS

# How long after a full hour a settlement or a changed interval may be unpublished.
PUBLICATION_MS: Final = 4 * MINUTE_MS
# How long a due settlement is waited for before it counts as left out.
OVERDUE_MS: Final = 30 * MINUTE_MS
SHORTEST_INTERVAL_HOURS: Final = 1
_INTERVALS_HOURS: Final = (1, 2, 4, 8)


def due_instants(after_ms: int, until_ms: int, interval_hours: int) -> range:
    """The instants after `after_ms`, up to and with `until_ms`, at which a settlement falls."""
    step_ms = interval_hours * HOUR_MS
    return range(after_ms - after_ms % step_ms + step_ms, until_ms + 1, step_ms)


def may_have_settled(series: FundingSeries, now_ms: int, present_hours: int | None) -> bool:
    """Whether there may be a settlement that the series lacks.

    Considers the series' last interval and the present one, or if that is unknown the shortest
    there is.
    """
    return any(
        due_instants(series.checked_at_ms, now_ms, hours)
        for hours in (series.interval_hours, present_hours or SHORTEST_INTERVAL_HOURS)
    )


def lacks_its_newest(series: FundingSeries) -> bool:
    """Whether the newest settlement was left out: the exchange may have corrected it since.

    Older ones are asked for again with the next settlement.
    """
    last_ms = settlement_instant(series.rows[-1][TIME]) if series.rows else 0
    return any(row.time_ms >= last_ms for row in series.left_out)


def lacks_its_beginning(series: FundingSeries, begin_ms: int, keep: int) -> bool:
    """Whether the market settled before the first known settlement, since its life began.

    So it is where a later launch time was corrected. `keep`: no more settlements than this are
    kept. `begin_ms`: 0 if unknown.
    """
    if not begin_ms or not series.rows or len(series.rows) >= keep:
        return False
    first_ms = settlement_instant(series.rows[0][TIME])
    return first_ms - begin_ms > LONGEST_INTERVAL_HOURS * HOUR_MS


def complete_until(
    rows: Sequence[FundingRow], asked_ms: int, schedule: FundingSchedule | None = None
) -> int:
    """Up to when the answer to a request at `asked_ms` (exchange time) is surely complete.

    The settlement of the current hour may be unpublished, or belong to an interval we do not know
    yet; without it the answer is complete only up to that hour. One that is due by the scheduled
    interval is waited for longer.
    """
    last_ms = settlement_instant(rows[-1][TIME]) if rows else 0
    waits = [(SHORTEST_INTERVAL_HOURS, PUBLICATION_MS)]
    if schedule is not None:
        waits.append((schedule.interval_hours, OVERDUE_MS))
    for hours, wait_ms in waits:
        instant = asked_ms - asked_ms % (hours * HOUR_MS)
        if last_ms < instant and asked_ms - instant < wait_ms:
            return instant - 1
    return asked_ms


def without_outdated(
    schedule: Mapping[str, FundingSchedule], now_ms: int
) -> dict[str, FundingSchedule]:
    """The entries without those of an older list, such as a cache keeps: their next settlement has
    long been. The interval may have changed with it."""
    return {
        native: entry
        for native, entry in schedule.items()
        if entry.next_ms is None or now_ms - entry.next_ms < OVERDUE_MS
    }


def checked_again(series: FundingSeries, now_ms: int, interval_hours: int) -> FundingSeries:
    """The series with a later `checked_at_ms`, for a market that cannot have settled since."""
    checked_at_ms = max(series.checked_at_ms, complete_until(series.rows, now_ms))
    return replace(series, checked_at_ms=checked_at_ms, interval_hours=interval_hours)


def present_interval(rows: Sequence[FundingRow], schedule: FundingSchedule | None) -> int:
    """The interval in force, in hours; the shortest that the evidence allows.

    Too short an interval costs a request and a short time without a rate; too long a one would
    present an old rate as current. A scheduled interval counts. If it is only assumed, or there
    is no schedule, the distances between the last two settlements and from the last to the next
    count too.
    """
    hours = schedule.interval_hours if schedule is not None else LONGEST_INTERVAL_HOURS
    next_ms = schedule.next_ms if schedule is not None else None
    if schedule is None or schedule.assumed:
        hours = min([hours, *_observed_hours(rows, next_ms)])
    if next_ms and next_ms % HOUR_MS == 0:
        # The next settlement is off the interval's grid: a shorter interval has begun.
        while next_ms % (hours * HOUR_MS):
            hours = max(shorter for shorter in range(1, hours) if hours % shorter == 0)
    return hours


def _observed_hours(rows: Sequence[FundingRow], next_ms: int | None) -> list[int]:
    """The known intervals among the distances of the last settlements and the next one."""
    instants = [settlement_instant(time_ms) for time_ms, _ in rows[-2:]]
    if next_ms is not None:
        instants.append(next_ms)
    distances = [later - earlier for earlier, later in pairwise(instants)]
    return [hours for hours in _INTERVALS_HOURS if hours * HOUR_MS in distances]


def changed_rates(rows: Iterable[FundingRow], known: Sequence[FundingRow]) -> list[FundingRow]:
    """Those of `rows` whose settlement is known with another rate, ascending."""
    rates = {settlement_instant(time_ms): rate for time_ms, rate in known}
    return sorted(
        (time_ms, rate)
        for time_ms, rate in rows
        if rates.get(settlement_instant(time_ms), rate) != rate
    )


def said_twice(once: Sequence[FundingRow], again: Iterable[FundingRow]) -> list[FundingRow]:
    """Those of `once` that have the same rate in `again`."""
    rates = {settlement_instant(time_ms): rate for time_ms, rate in again}
    return [row for row in once if rates.get(settlement_instant(row[TIME])) == row[1]]


def merge_newest(
    rows: Iterable[FundingRow], known: Sequence[FundingRow], keep: int
) -> list[FundingRow]:
    """The newest `keep` settlements of `rows` and `known`, one per instant.

    A known settlement wins over a fetched one, so fetching again changes nothing.
    """
    by_instant = {settlement_instant(row[TIME]): row for row in rows}
    by_instant.update((settlement_instant(row[TIME]), row) for row in known)
    return [by_instant[instant] for instant in sorted(by_instant)][-keep:]


def still_lacking(left_out: Sequence[LeftOut], rows: Sequence[FundingRow]) -> list[LeftOut]:
    """The settlements left out, except those of hours that `rows` settles and those before it.

    A contract settles at most once in an hour, and a row that is left out may bear a wrong minute.
    """
    settled = {row[TIME] // HOUR_MS for row in rows}
    first_ms = min((settlement_instant(row[TIME]) for row in rows), default=0)
    return at_most_named(
        row
        for row in left_out
        if row.time_ms >= first_ms and (row.after or row.time_ms // HOUR_MS not in settled)
    )


def left_out_within(series: FundingSeries, start_ms: int, as_of_ms: int) -> list[LeftOut]:
    """The settlements left out whose rates the rows from `start_ms` to `as_of_ms` would have."""
    since_ms = start_ms - LONGEST_INTERVAL_HOURS * HOUR_MS
    return [row for row in series.left_out if since_ms <= row.time_ms <= as_of_ms]
