"""Bybit's publicTrade stream."""

from collections.abc import Iterable, Sequence
from typing import Final

from simulator.answers import dump
from simulator.bybit.trading import execution_id
from simulator.streams.trade_feed import TradeFeed
from simulator.tape import Trade
from simulator.text import plain

_MOST_IN_ONE: Final = 1024  # trades of one message


class PublicTradeFeed(TradeFeed):
    """`publicTrade.<symbol>`, in real time (20 ms: choice)."""

    spacing_ms = 20
    _last_price = 0
    _last_direction = "ZeroPlusTick"

    def render(self, trades: Sequence[Trade], event_ms: int) -> Iterable[bytes]:
        for start in range(0, len(trades), _MOST_IN_ONE):
            rows = [self._row(trade) for trade in trades[start : start + _MOST_IN_ONE]]
            yield dump(
                {
                    "topic": f"publicTrade.{self.market.symbol}",
                    "type": "snapshot",
                    "ts": event_ms,
                    "data": rows,
                }
            )

    def _row(self, trade: Trade) -> dict[str, object]:
        market = self.market
        return {
            "T": trade.time_ms,
            "s": market.symbol,
            "S": "Buy" if trade.is_buy else "Sell",
            "v": plain(trade.volume, market.quantity_decimals),
            "p": plain(trade.price, market.price_decimals),
            "L": self._direction(trade.price),
            "i": execution_id(trade),
            "BT": False,
            "RPI": False,
            "seq": trade.number,
        }

    def _direction(self, price: int) -> str:
        before, self._last_price = self._last_price or price, price
        if price != before:
            self._last_direction = "PlusTick" if price > before else "MinusTick"
        elif not self._last_direction.startswith("Zero"):
            self._last_direction = f"Zero{self._last_direction}"
        return self._last_direction
