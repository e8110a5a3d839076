"""Settlements of funding: their instants, and up to when a series of them can be trusted."""

from dataclasses import replace
from typing import Final

import numpy as np

from market.columns import TIME
from market.markets import FundingSeries
from market.rows import Times
from market.timeframes import HOUR_MS, MINUTE_MS

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


def lacking_after(times: Times) -> tuple[Times, Times]:
    """Where settlements seem to be missing: after which of the ascending `times`, by index, and
    since when one may have been.

    A distance that is longer than the one before and the one after, or than the longest interval,
    has a hole: an interval that changes, changes for longer.
    """
    instants = times - times % MINUTE_MS
    longest_ms = LONGEST_INTERVAL_HOURS * HOUR_MS
    steps = np.diff(instants)
    before = np.append(longest_ms, steps[:-1])[: len(steps)]
    after = np.append(steps[1:], longest_ms)[: len(steps)]
    lasting = np.minimum(np.maximum(before, after), longest_ms)
    index = np.flatnonzero(steps > lasting)
    return index, instants[index] + lasting[index]
