"""The state that changes of a candle book add up to: the same for the book and for every reader.

Each closed candle carries its own proof, so a reader that begins in the middle knows less, never
anything else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from live.candle_changes import NORMAL, Change, ClosedCandle, Delisted, Lapse, Reason

KEPT_CANDLES: Final = 16  # of each market; what is older has long been settled by REST


@dataclass(slots=True)
class MarketState:
    """`closed` by open time, the newest KEPT_CANDLES. `lapse`: since when the market is unproven,
    and why; None while its newest candles are proven. One without any was never told of."""

    closed: dict[int, ClosedCandle] = field(default_factory=dict)
    lapse: Lapse | None = None

    def is_too_old(self, open_time_ms: int) -> bool:
        """Whether the candle is older than all that are kept."""
        return len(self.closed) >= KEPT_CANDLES and open_time_ms < min(self.closed)

    def newest_proven(self) -> ClosedCandle | None:
        proven = (candle for candle in self.closed.values() if candle.is_proven)
        return max(proven, key=lambda candle: candle.open_time_ms, default=None)


class CandleState:
    """The markets by symbol; `interval_ms`: the length of their candles. `has_closed`: whether a
    candle of any market has been told as closed."""

    def __init__(self, interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self.markets: dict[str, MarketState] = {}
        self.has_closed = False

    def apply(self, change: Change) -> None:
        match change:
            case ClosedCandle():
                self._close(change)
            case Lapse():
                for symbol in change.symbols:
                    market = self.markets.setdefault(symbol, MarketState())
                    if can_lapse(market.lapse, change.reason):
                        market.lapse = change
            case Delisted():
                for symbol in change.symbols:
                    self.markets.pop(symbol, None)

    def closed(self, symbol: str, open_time_ms: int) -> ClosedCandle | None:
        market = self.markets.get(symbol)
        return market.closed.get(open_time_ms) if market is not None else None

    def proven_until_ms(self, symbol: str) -> int | None:
        """The close of the market's newest proven candle."""
        market = self.markets.get(symbol)
        newest = market.newest_proven() if market is not None else None
        return newest.open_time_ms + self.interval_ms if newest is not None else None

    def unproven(self) -> Iterator[tuple[str, Lapse]]:
        """The markets that are unproven now, the silent ones too."""
        for symbol, market in self.markets.items():
            if market.lapse is not None:
                yield symbol, market.lapse

    def _close(self, candle: ClosedCandle) -> None:
        self.has_closed = True
        market = self.markets.setdefault(candle.symbol, MarketState())
        market.closed[candle.open_time_ms] = candle
        if len(market.closed) > KEPT_CANDLES:
            del market.closed[min(market.closed)]
        lapse, close_ms = market.lapse, candle.open_time_ms + self.interval_ms
        if candle.is_proven and lapse is not None and close_ms > lapse.since_ms:
            market.lapse = None


def can_lapse(lapse: Lapse | None, reason: Reason) -> bool:
    """Whether a market becomes unproven for this reason: the first fault counts, and silence is
    none."""
    return lapse is None or (lapse.reason in NORMAL and reason not in NORMAL)
