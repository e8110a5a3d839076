"""Markets, rows and documents for the tests of documents."""

from typing import Any

from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Missing, Row

HOUR_MS = 3_600_000
H4_MS = 4 * HOUR_MS
AS_OF_MS = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
LAST_CLOSED_4H_MS = 1_699_977_600_000  # 16:00 of that day: the candle of 20:00 is forming

BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
ETH = Market(Exchange.BYBIT, "ETHUSDT", "ETH", "USDT")


def row(open_time_ms: int, **changed: Any) -> Row:
    values = {
        "open": 1.5,
        "high": 2.0,
        "low": 1e-7,
        "close": 0.1,
        "volume": 12345678.9,
        "turnover": 0.0,
        "open_interest": None,
        "funding_rate": -0.0001,
    }
    return (open_time_ms, *(values | changed).values())


def series(market: Market, rows: list[Row], stale_since_ms: int | None = None) -> MarketSeries:
    return MarketSeries(market, rows, AS_OF_MS, stale_since_ms)


def finished(builder: DocumentBuilder, missing: list[Missing] | None = None) -> bytes:
    return builder.finish(
        version=AS_OF_MS + 1, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS + 9, missing=missing or []
    )
