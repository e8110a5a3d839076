"""The latent price of an asset at an instant, in US dollars, which its exchanges follow."""

import math
from typing import Final

from simulator.candles import DAY_MS
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.present import last_price
from simulator.prices import BLOCKS_A_DAY, SLOTS_A_BLOCK
from simulator.providers.assets import STABLE, WRAPPED
from simulator.randomness import draw
from simulator.series import BLOCK_MS, CHUNK_MS
from simulator.universe import GeneratorContext, asset_price

_SLOT_MS: Final = BLOCK_MS // SLOTS_A_BLOCK
# A market whose last trade is further from the price is quiet, or in an outage.
_LIVELY: Final = 0.02
_HOUR_MS: Final = 3_600_000
_QUOTES: Final = ("USDT", "USDC")
# Names of contracts of many coins, as exchanges spell them.
_MULTIPLIED: Final = (("", 1), ("1000", 1000), ("1000000", 1_000_000), ("1M", 1_000_000))


class LatentPrices:
    """`recorded`: prices are those of the recorded markets, where an asset has one."""

    def __init__(self, markets: ExchangeMarkets, context: GeneratorContext | None) -> None:
        self._markets = markets
        self._recorded = context is None
        self._context = context or GeneratorContext.open(
            markets.seed, markets.clock.now_ms(), markets=0
        )

    def usd(self, symbol: str, at_ms: int) -> float:
        """The price of one coin at an instant, without the wicks of its candles; it exists for
        every name."""
        symbol = WRAPPED.get(symbol, symbol)
        if symbol in STABLE:
            hour = at_ms // _HOUR_MS
            return 1 + (draw(self._context.seed, symbol, "peg", hour, 9) - 4) / 10_000
        markets = self._markets_of(symbol) if self._recorded else []
        return (
            self._replayed(symbol, *markets[0], at_ms)
            if markets
            else (self._generated(symbol, at_ms))
        )

    def now_usd(self, symbol: str, now_ms: int) -> float:
        """The price now, at which the simulated exchanges trade it, if any does."""
        usual = self.usd(symbol, now_ms)
        if self._recorded or symbol in STABLE:
            return usual
        for market, coins in self._markets_of(WRAPPED.get(symbol, symbol)):
            last = _last(market, coins, now_ms)
            if abs(last / usual - 1) < _LIVELY:
                return last
        return usual

    def bases(self) -> list[str]:
        """The bases of all markets that are collected, as their exchanges spell them."""
        listed = self._markets.by_exchange.values()
        return sorted({m.base for markets in listed for m in markets.values() if m.collected})

    def _replayed(self, symbol: str, market: Market, coins: int, at_ms: int) -> float:
        """The price of a recorded market; before its first row one that leads to it."""
        recorded = _last(market, coins, at_ms)
        if recorded:
            return recorded
        now_ms = self._markets.clock.now_ms()
        usual = self._generated(symbol, at_ms)
        return usual * (_last(market, coins, now_ms) or usual) / self._generated(symbol, now_ms)

    def _generated(self, symbol: str, now_ms: int) -> float:
        asset = asset_price(self._context, symbol)
        path = asset.blocks(now_ms // CHUNK_MS)
        block = now_ms % CHUNK_MS // BLOCK_MS
        began = math.exp(float(path.close[block - 1]) if block else path.start)
        ends = math.exp(float(path.close[block]))
        bend = asset.slots(now_ms // DAY_MS).bend[block % BLOCKS_A_DAY]
        slot, in_slot = divmod(now_ms % BLOCK_MS, _SLOT_MS)
        lowest = min(began, ends) * (1 - float(path.down[block]))
        highest = max(began, ends) * (1 + float(path.up[block]))

        def end_of(slot: int) -> float:
            if slot < 0:
                return began
            if slot == SLOTS_A_BLOCK - 1:
                return ends
            way = (slot + 1) / SLOTS_A_BLOCK
            price = began + (ends - began) * way + float(bend[slot]) * began
            return min(max(price, lowest), highest)

        before = end_of(slot - 1)
        return before + (end_of(slot) - before) * in_slot / _SLOT_MS

    def _markets_of(self, symbol: str) -> list[tuple[Market, int]]:
        """The contracts of an asset that trade, and how many coins each one is of."""
        return [
            (market, coins)
            for prefix, coins in _MULTIPLIED
            for listed in self._markets.by_exchange.values()
            for quote in _QUOTES
            if (market := listed.get(f"{prefix}{symbol}{quote}")) and not market.gone
        ]


def _last(market: Market, coins: int, now_ms: int) -> float:
    return last_price(market, now_ms) / float(10**market.price_decimals) / coins
