"""Makes candle events of one market for tests, by candle and second."""

from live.events import CandleEvent

STEP_MS = 300_000
START = 1_791_240_000_000  # 2026-10-06T03:20:00Z, on the grid of 5m


def moment(candle: int, second: float) -> int:
    """So many seconds after the open of the candle, in ms."""
    return START + candle * STEP_MS + round(second * 1000)


def event(
    candle: int,
    second: float,
    volume: str = "1.5",
    *,
    closed: bool = False,
    symbol: str = "BTCUSDT",
    prices: tuple[str, str, str, str] = ("100.10", "101.20", "99.90", "100.40"),
    turnover: str = "",
    timeframe: str = "5m",
) -> CandleEvent:
    """The candle as the exchange shows it so many seconds after its open."""
    opened, high, low, close = prices
    return CandleEvent(
        symbol=symbol,
        timeframe=timeframe,
        open_time_ms=moment(candle, 0),
        event_time_ms=moment(candle, second),
        closed=closed,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        turnover=turnover or volume,
    )
