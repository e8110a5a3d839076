"""The fetch tasks of a pass: which 5m candles and snapshots the base of a market still needs.

And whether the answer can be right.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from data_collector.data_processing import why_lost
from data_collector.incremental import LEAST_OVERLAP
from data_collector.task_builder import FetchTask, MarketTasks, klines_task, open_interest_task
from data_collector.url_builder import endpoint_table
from market.base import STEP_MS, Base, reach
from market.candles import Candle, Candles
from market.left_out import LeftOut
from market.markets import Market
from market.timeframes import Timeframe
from venues import VENUES
from venues.venue import Endpoint

_M5: Final = Timeframe.M5
# The first candle of a new market may be shown after the second one: its open interest is asked for
# with it while the base has fewer slots, which one page of any exchange holds.
_YOUNG: Final = 100


def base_tasks(
    market: Market,
    base: Base | None,
    *,
    as_of_ms: int,
    history_candles: int = 0,
    anew: bool = False,
) -> MarketTasks:
    """What a pass at `as_of_ms` asks for: all within the reach for a new base; else what is not
    settled, at least LEAST_OVERLAP known candles, and as many as cost no more. `anew`: all of its
    candles once more.

    With a new base comes what a first document of 5m needs: the open interest of so many candles,
    and as many of them as fill the pages. `extended` then takes the candles with `asked_ms` = the
    start of the klines.
    """
    earliest_ms = reach(as_of_ms)
    history = (_M5.floor(as_of_ms) - earliest_ms) // STEP_MS + 1
    is_new = base is None or not base.reaches(as_of_ms)
    candles = snapshots = history
    if is_new:
        page = endpoint_table(market.exchange, Endpoint.KLINES).page_limit
        filled = -(-history // page) * page
        candles = max(history, min(history_candles, filled))
        snapshots = max(history, history_candles)
    klines = klines_task(_M5, market, as_of_ms=as_of_ms, history_candles=candles)
    interest = open_interest_task(_M5, market, as_of_ms=as_of_ms, history_candles=snapshots)
    if base is None or is_new:
        return MarketTasks(market, klines, interest, None)
    span_ms = (VENUES[market.exchange].cheapest_candles - 1) * STEP_MS
    known_ms = base.newest_ms - LEAST_OVERLAP * STEP_MS
    first_ms = min(base.unsettled_ms(market.since_ms), klines.end_ms - span_ms, known_ms)
    if not anew:
        klines = replace(klines, start_ms=max(klines.start_ms, first_ms))
    lacking_ms = base.until(as_of_ms).lacks_interest_ms()
    if lacking_ms is not None and base.newest_ms - base.first_ms < _YOUNG * STEP_MS:
        lacking_ms = min(lacking_ms, max(klines.start_ms, base.first_ms - LEAST_OVERLAP * STEP_MS))
    return MarketTasks(market, klines, _since(interest, lacking_ms), None)


def why_not_believed(
    base: Base | None,
    klines: FetchTask,
    candles: Sequence[Candle],
    left_out: Sequence[LeftOut],
    *,
    holes_too: bool,
) -> str | None:
    """Why the answer to a pass cannot be right, if it lacks candles that were seen final.

    `holes_too`: False once the market was asked again and they are still gone.
    """
    if base is None:
        return None
    seen = base.times[base.there & base.settled]
    known = seen[np.searchsorted(seen, klines.start_ms) :].tolist()
    return why_lost_of(known, candles, left_out, holes_too=holes_too)


def why_lost_of(
    known: Sequence[int], candles: Sequence[Candle], left_out: Sequence[LeftOut], *, holes_too: bool
) -> str | None:
    """As data_processing.why_lost, of 5m candles that may be none at all."""
    there = {row.slot_ms(STEP_MS) for row in left_out}.union(Candles.of(candles).times.tolist())
    if known and not there:
        return "no candles for a market that had some before"
    return why_lost(known, there, holes_too=holes_too)


def _since(interest: FetchTask | None, lacking_ms: int | None) -> FetchTask | None:
    if interest is None or lacking_ms is None:
        return None
    return interest.since(lacking_ms)
