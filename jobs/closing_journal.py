"""The closing journal of a pass: by which way the newest closed candles came, for its record."""

from collections import Counter
from collections.abc import Mapping

from data_collector.base_pass import BasePass
from jobs.live_rows import LiveRows
from market.base import STEP_MS, Base
from market.timeframes import Timeframe


def closing_journal(run: BasePass, live: LiveRows) -> dict[str, Mapping[str, int]]:
    """Of each exchange, the `close` (UTC ms) of the newest 5m candle that had closed at the pass's
    `as_of`, and of how many markets it came by `stream`, by `rest`, or is `lacking`.

    `taken`, `repaired`, `sampled`: markets, as StreamReads counts them; `compared`, `differing`:
    candles of streams since the worker began, as LiveRows does.
    """
    open_ms = Timeframe.M5.last_closed_open_time(run.as_of_ms)
    ways: dict[str, Counter[str]] = {}
    for market in run.markets:
        of_exchange = ways.setdefault(market.exchange, Counter(stream=0, rest=0, lacking=0))
        of_exchange[_way(run.bases.get(market.key), open_ms)] += 1
    streams = run.streams
    return {
        str(exchange): {
            "close": open_ms + STEP_MS,
            **ways[exchange],
            "taken": streams.taken[exchange],
            "repaired": streams.repaired[exchange],
            "sampled": streams.sampled[exchange],
            "compared": live.comparisons[exchange],
            "differing": live.differing[exchange],
        }
        for exchange in live.exchanges
        if exchange in ways
    }


def _way(base: Base | None, open_ms: int) -> str:
    if base is None:
        return "lacking"
    slot = (open_ms - base.first_ms) // STEP_MS
    if not 0 <= slot < len(base.values) or not (base.there[slot] and base.known[slot]):
        return "lacking"
    return "stream" if base.streamed[slot] else "rest"
