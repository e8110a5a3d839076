"""Upkeep of the record: new rows go into chunks, old ones are removed, and a share is checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from database import Checked, Compacted, HistoryPublishes, HistoryTables, Retained, SeriesKey
from documents.names import GLOBAL_FR
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from stores.cold.history.series import CHUNK_INSTANTS

# Corrections come soon after a value; in a chunk they cost more.
_SETTLED_MS: Final = HOUR_MS
# After so many days each series was checked. A check holds a connection and waits for the disk.
CHECK_DAYS: Final = 30
_CHECK_S: Final = 60.0
_CHECKED_AT_ONCE: Final = 4  # series, whose times are in memory together
_DOCUMENTS: Final = {str(each): str(each) for each in Timeframe} | {"funding": GLOBAL_FR}


@dataclass(frozen=True, slots=True)
class Removed:
    """What one retention removed."""

    retained: Retained
    publishes: int  # that were removed from the log


async def compact(history: HistoryTables, now_ms: int) -> Compacted:
    """Puts the rows of more than an hour ago into chunks. A kill loses nothing: what was not done
    is done next time. Raises DatabaseUnavailable."""
    return await history.compact(now_ms - _SETTLED_MS)


async def retain(
    history: HistoryTables,
    publishes: HistoryPublishes,
    retention_days: Callable[[str], int],
    now_ms: int,
) -> Removed:
    """Removes what is older than its setting allows, publishes too that no row is left of.

    `retention_days` is asked with the name of each timeframe, `open_interest` and `funding`; 0 is
    for ever. A kill loses nothing, as with `compact`. Raises DatabaseUnavailable.
    """
    named = {str(each): SeriesKey.candles("", "", each) for each in Timeframe}
    named |= {
        "open_interest": SeriesKey.open_interest("", ""),
        "funding": SeriesKey.funding("", ""),
    }
    removed, removed_publishes = Retained(), 0
    for name, key in named.items():
        if days := retention_days(name):
            before_ms = now_ms - days * DAY_MS
            gone = await history.retain(key.kind, key.interval_ms, before_ms)
            removed = Retained(
                removed.chunks + gone.chunks,
                removed.rows + gone.rows,
                removed.revisions + gone.revisions,
            )
            if (document := _DOCUMENTS.get(name)) is not None:
                # Its rows stay until the slot that they are in has ended before that time.
                first_ms = before_ms - before_ms % (key.interval_ms * CHUNK_INSTANTS)
                removed_publishes += await publishes.retain(document, first_ms)
    return Removed(removed, removed_publishes)


async def check_share(history: HistoryTables, now_ms: int, *, seconds: float = _CHECK_S) -> Checked:
    """Checks the day's share of the series, as many of them as can be checked in that time, and
    sets damaged chunks aside.

    The share begins at another place in each round, so that the last ones have their turn, too.
    `holes` is left empty. Raises DatabaseUnavailable.
    """
    end_s = time.monotonic() + seconds
    round_number, day = divmod(now_ms // DAY_MS, CHECK_DAYS)
    async with history.snapshot() as snapshot:
        share = (await snapshot.series())[day::CHECK_DAYS]
    begin = round_number * len(share) // 4 % max(1, len(share))
    share = share[begin:] + share[:begin]
    done = Checked()
    for at in range(0, len(share), _CHECKED_AT_ONCE):
        if time.monotonic() >= end_s:
            break
        found = await history.check(share[at : at + _CHECKED_AT_ONCE])
        await history.set_aside(found.damaged)
        done = Checked(
            done.series + found.series,
            done.chunks + found.chunks,
            done.rows + found.rows,
            done.faults + found.faults,
        )
    return done
