"""Traded: which markets were traded since they were asked for last, for streams of changes."""

from simulator.market import Market
from simulator.streams.candle_view import Tapes


class Traded:
    """Tells whether a market was traded since this object was asked for it last."""

    def __init__(self, tapes: Tapes) -> None:
        self._tapes = tapes
        self._seen: dict[str, tuple[int, int]] = {}

    def since_last(self, market: Market, now_ms: int) -> bool:
        tape = self._tapes.at(market, now_ms)
        if tape is None:
            return False
        now = tape.start_ms, tape.count_at(now_ms)
        before = self._seen.get(market.symbol)
        self._seen[market.symbol] = now
        return before is None or (now != before and bool(now[1] or before[0] != now[0]))
