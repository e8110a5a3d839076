"""Binance's aggTrade stream."""

from collections.abc import Iterable, Sequence

from simulator.streams.trade_feed import TradeFeed
from simulator.tape import Trade
from simulator.text import fixed


class AggTradeFeed(TradeFeed):
    """`<symbol>@aggTrade`, every 100 ms: a taker's order at one price. Its id counts on from the
    first fill of its 5 minutes."""

    spacing_ms = 100

    def render(self, trades: Sequence[Trade], event_ms: int) -> Iterable[bytes]:
        market = self.market
        for trade in trades:
            price = fixed(trade.price, market.price_decimals)
            amount = fixed(trade.volume, market.quantity_decimals)
            yield (
                f'{{"e":"aggTrade","E":{event_ms},"a":{trade.number},"s":"{market.symbol}",'
                f'"p":"{price}","q":"{amount}","nq":"{amount}","f":{trade.first_id},'
                f'"l":{trade.last_id},"T":{trade.time_ms},'
                f'"m":{"false" if trade.is_buy else "true"},"st":1}}'
            ).encode()
