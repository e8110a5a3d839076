"""Data points as the built-in collectors hand them out, from the exchanges' texts."""

from datetime import UTC, datetime
from typing import Any

from live.data_types import DataType, MarketDataPoint
from live.events import CandleEvent, TradeEvent
from live.points import book_data, candle_data, ticker_data, trade_data

EXCHANGE, SYMBOL, NATIVE = "okx", "BTC/USDT", "BTC-USDT-SWAP"


def now() -> datetime:
    """This moment, in whole milliseconds as exchanges tell them."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def point(
    kind: DataType, data: dict[str, Any], at: datetime | None = None, symbol: str = SYMBOL
) -> MarketDataPoint:
    return MarketDataPoint(EXCHANGE, symbol, at or now(), kind, data)


def trade(
    trade_id: str = "t1", price: str = "85885.40", size: str = "0.00000010",
    at: datetime | None = None, native: str = NATIVE,
) -> MarketDataPoint:  # fmt: skip
    event = TradeEvent(native, 0, trade_id, price, size, "sell")
    return point(DataType.TRADE, trade_data(event), at)


def ticker(at: datetime | None = None, native: str = NATIVE, **values: str) -> MarketDataPoint:
    return point(DataType.TICKER, ticker_data(native, values), at)


def book(last_id: int = 7, at: datetime | None = None, native: str = NATIVE) -> MarketDataPoint:
    bids, asks = [("100.50", "2"), ("100.4", "0.10")], [("100.6", "1E-7")]
    return point(DataType.ORDERBOOK, book_data(native, bids, asks, last_id), at)


def candle(open_time_ms: int) -> MarketDataPoint:
    event = CandleEvent(
        symbol=NATIVE,
        timeframe="1m",
        open_time_ms=open_time_ms,
        event_time_ms=open_time_ms + 500,
        closed=False,
        open="1.10",
        high="2.00",
        low="1.00",
        close="1.5",
        volume="1000",
        turnover="1500.0",
    )
    return point(DataType.CANDLE, candle_data(event))
