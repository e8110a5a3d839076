"""A market's last price and its last 24 hours, for tickers."""

from simulator.candles import CLOSE, DAY_MS, SLOT_MS, Ints
from simulator.market import Market
from simulator.series import BLOCK_MS


def last_day(market: Market, now_ms: int) -> Ints:
    """The candles of the last 24 hours, in blocks of 2 hours (choice)."""
    open_ms = now_ms - now_ms % BLOCK_MS
    return market.closed(BLOCK_MS, open_ms - DAY_MS, open_ms - BLOCK_MS)


def last_price(market: Market, now_ms: int) -> int:
    """The close of the forming candle or of an earlier one; 0 before the first trade."""
    candle = market.forming(SLOT_MS, now_ms)
    if not candle.shape[1]:
        candle = market.closed(DAY_MS, now_ms - 3 * DAY_MS, now_ms - DAY_MS)
    return int(candle[CLOSE, -1]) if candle.shape[1] else 0
