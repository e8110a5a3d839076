"""A document with hand-written rows, and the rows of its table."""

from documents.building import DocumentBuilder
from market.markets import Exchange, Market, MarketSeries, Missing, Row
from market.timeframes import Timeframe

STEP_MS = 4 * 3_600_000
FORMING_MS = 1_699_992_000_000  # the 4h candle that holds AS_OF_MS
AS_OF_MS = 1_700_000_000_000
CLOSED = (FORMING_MS - STEP_MS, 1.5, 2.25, 1.0, 1.25, 10.0, 12.5, 7.75, 1e-05)
FORMING = (FORMING_MS, 1.25, 2.0, 1.0, 1.75, 4.0, 5.5, None, None)
COLUMNS = [
    *("exchange", "symbol", "open_time", "open", "high", "low", "close", "volume", "turnover"),
    *("open_interest", "funding_rate", "closed"),
]
ROWS = [
    ("binance", "BTCUSDT", *CLOSED, True),
    ("binance", "BTCUSDT", *FORMING, False),
    ("bybit", "ETHUSDT", *CLOSED, True),
    ("bybit", "ETHUSDT", *FORMING, False),
]


def document(version: int, candles: tuple[Row, ...] = (CLOSED, FORMING)) -> bytes:
    """Two markets with rows, between them one that was listed just now and has none; the
    last one is carried over."""
    builder = DocumentBuilder(Timeframe.H4, "collected")
    for exchange, base, rows in (
        (Exchange.BINANCE, "BTC", list(candles)),
        (Exchange.BINANCE, "NEW", []),
        (Exchange.BYBIT, "ETH", list(candles)),
    ):
        market = Market(exchange, f"{base}USDT", base, "USDT")
        stale_since_ms = AS_OF_MS if exchange is Exchange.BYBIT else None
        builder.add(MarketSeries(market, rows, AS_OF_MS, stale_since_ms), {})
    missing = [Missing(Exchange.BYBIT, "XYZUSDT", "klines", "gone")]
    return builder.finish(
        version=version, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=missing
    )
