"""Upkeep of the record: new rows go into chunks, old ones are removed, and a share is checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from database import Checked, Compacted, HistoryTables, Retained, SeriesKey
from market.timeframes import DAY_MS, HOUR_MS, Timeframe

# Corrections come soon after a value; in a chunk they cost more.
_SETTLED_MS: Final = HOUR_MS
# After so many days each series was checked. A check holds a connection and waits for the disk.
CHECK_DAYS: Final = 30
_CHECK_S: Final = 60.0
_CHECKED_AT_ONCE: Final = 4  # series, whose times are in memory together


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one upkeep did."""

    compacted: Compacted
    retained: Retained


async def keep(history: HistoryTables, retention_days: Callable[[str], int], now_ms: int) -> Upkeep:
    """Compacts the record and removes what is older than its setting allows.

    `retention_days` is asked with the name of each timeframe, `open_interest` and `funding`; 0 is
    for ever. A kill loses nothing: what was not done is done next time. Raises DatabaseUnavailable.
    """
    compacted = await history.compact(now_ms - _SETTLED_MS)
    named = {str(each): SeriesKey.candles("", "", each) for each in Timeframe}
    named |= {
        "open_interest": SeriesKey.open_interest("", ""),
        "funding": SeriesKey.funding("", ""),
    }
    removed = Retained()
    for name, key in named.items():
        if days := retention_days(name):
            gone = await history.retain(key.kind, key.interval_ms, now_ms - days * DAY_MS)
            removed = Retained(
                removed.chunks + gone.chunks,
                removed.rows + gone.rows,
                removed.revisions + gone.revisions,
            )
    return Upkeep(compacted, removed)


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
