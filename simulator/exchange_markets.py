"""The shared state of the simulated exchanges: their markets, clock and rendered pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.clock import Clock
from simulator.market import Market
from simulator.pages import PageCache


@dataclass(slots=True)
class ExchangeMarkets:
    """`by_exchange`: exchange -> symbol -> market, in listing order."""

    clock: Clock
    seed: int
    pages: PageCache
    by_exchange: dict[str, dict[str, Market]]
    recorded_lists: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def find(self, exchange: str, symbol: str) -> Market | None:
        """The market of that name, or None if it is unknown or delisted."""
        market = self.by_exchange[exchange].get(symbol)
        return None if market is None or market.gone else market

    def add(self, market: Market) -> None:
        self.by_exchange[market.exchange][market.symbol] = market
