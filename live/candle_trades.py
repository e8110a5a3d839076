"""What streams tell of the trades of candles, beside the candles: how many, what takers bought.

It is told apart, so that readers of an earlier release read the candles as ever. A candle without
it has nulls.
"""

import msgspec

from live.events import CandleEvent
from market.candles import Candle
from venues.numbers import is_decimal


class CandleTrades(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The trades of the candle that opened then, in plain decimals."""

    symbol: str
    open_time_ms: int
    trades: str
    taker_buy_volume: str
    taker_buy_turnover: str


def trades_of(event: CandleEvent) -> CandleTrades | None:
    """None where the exchange does not tell them, or not in plain decimals."""
    count, bought, turnover = event.trades, event.taker_buy_volume, event.taker_buy_turnover
    if count is None or count < 0 or not (_is_decimal(bought) and _is_decimal(turnover)):
        return None
    return CandleTrades(event.symbol, event.open_time_ms, str(count), bought, turnover)


def _is_decimal(sent: object) -> bool:
    """They are not looked at before: nothing depends on them."""
    return isinstance(sent, str) and is_decimal(sent)


def with_trades(candle: Candle, told: CandleTrades | None) -> Candle:
    """The candle with what is told of its trades."""
    if told is None:
        return candle
    return candle._replace(
        trades=told.trades,
        taker_buy_volume=told.taker_buy_volume,
        taker_buy_turnover=told.taker_buy_turnover,
    )
