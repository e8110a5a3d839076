"""Upkeep of the record: what came lately goes into chunks, and what is too old is removed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from database import Compacted, HistoryTables, Retained, SeriesKey
from market.timeframes import DAY_MS, HOUR_MS, Timeframe

# Corrections come soon after a value; in a chunk they cost more.
_SETTLED_MS: Final = HOUR_MS


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
