"""Rules of a market's lives: which launch times to believe, and when a new life begins.

A symbol may be delisted and later be given to another contract, whose history the exchange then
continues with the old rows. A launch time of 0 is unknown.
"""

from dataclasses import dataclass, replace
from typing import Final

from market.markets import Market
from market.timeframes import DAY_MS, MINUTE_MS

# 2010-01-01: no exchange lists perpetuals before. A smaller number counts other units, or nothing.
_EARLIEST_MS: Final = 1_262_304_000_000
# Clocks that are believed may differ by less.
_CLOCKS_DIFFER_MS: Final = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of a market's present life.

    `launched_ms`: its launch time by the exchange's lists. `since_ms`: nothing from before belongs
    to it; 0 if no earlier life is known.
    """

    launched_ms: int = 0
    since_ms: int = 0


def believable_launch(launched_ms: int, seen_at_ms: int) -> int:
    """The launch time of a market that is traded at `seen_at_ms`; 0 if it cannot be one: in the
    future, before there were perpetuals, in seconds or microseconds."""
    return launched_ms if _EARLIEST_MS <= launched_ms <= seen_at_ms else 0


def begun(market: Market, now_ms: int) -> Market:
    """The market without times of its life that have not come yet, which a wrong clock told: all of
    its rows would be of before."""
    until_ms = now_ms + _CLOCKS_DIFFER_MS
    if max(market.launched_ms, market.since_ms) <= until_ms:
        return market
    return replace(
        market,
        launched_ms=market.launched_ms if market.launched_ms <= until_ms else 0,
        since_ms=market.since_ms if market.since_ms <= until_ms else 0,
    )


def life_now(
    known: Life, launched_ms: int, *, absent_from_ms: int | None, absent_until_ms: int
) -> Life:
    """The life of a market that is listed now, given what was known of it.

    `launched_ms`: by the list that names it now, believable or 0. `absent_from_ms`: the first
    believed list that lacked it, None if the one before had it; `absent_until_ms`: the last one.
    A new life begins where the launch time moves forward by more than a day, or by less while the
    market was delisted; or where it was delisted for a day or more, whatever its launch time. A
    shorter absence under the same launch time is a suspension. A launch time that moves back by
    more than a day corrects the one known; the market is then judged as on first sight.
    """
    moved_ms = launched_ms - known.launched_ms if launched_ms and known.launched_ms else 0
    delisted = absent_from_ms is not None
    if moved_ms > DAY_MS or (delisted and moved_ms > 0):
        return Life(launched_ms, launched_ms)
    if absent_from_ms is not None and absent_until_ms - absent_from_ms >= DAY_MS:
        return Life(known.launched_ms or launched_ms, absent_until_ms)
    if moved_ms < -DAY_MS:
        seen_to_begin = known.since_ms != known.launched_ms
        return Life(launched_ms, known.since_ms if seen_to_begin else 0)
    return Life(known.launched_ms or launched_ms, known.since_ms)
