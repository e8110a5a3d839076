"""Settlements of funding: their instants, and up to when a series of them can be trusted."""

from dataclasses import replace
from typing import Final

from market.columns import TIME
from market.markets import FundingSeries
from market.timeframes import MINUTE_MS

# A time of checking that lies further ahead than this was told by a wrong clock.
CLOCK_TOLERANCE_MS: Final = 5 * MINUTE_MS
LONGEST_INTERVAL_HOURS: Final = 8


def settlement_instant(funding_ms: int) -> int:
    """The full minute of a settlement, whose timestamp may be some ms late."""
    return funding_ms - funding_ms % MINUTE_MS


def is_checked_ahead(series: FundingSeries, now_ms: int) -> bool:
    """Whether it was checked at a time that has not come, which only a wrong clock can tell."""
    return series.checked_at_ms > now_ms + CLOCK_TOLERANCE_MS


def not_checked_ahead(series: FundingSeries, now_ms: int) -> FundingSeries:
    """The series; one that was checked ahead is complete no further than its last settlement."""
    if not is_checked_ahead(series, now_ms):
        return series
    last_ms = settlement_instant(series.rows[-1][TIME]) if series.rows else 0
    return replace(series, checked_at_ms=min(last_ms, now_ms))
