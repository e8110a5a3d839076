"""Binance's rows of candles as wire bytes."""

from simulator.candles import Ints
from simulator.text import fixed_column


def kline_rows(
    candles: Ints, interval_ms: int, price_decimals: int, quantity_decimals: int
) -> list[bytes]:
    """One JSON array of 12 for each candle, with a comma behind it."""
    times, o, h, low, c, v, q, n, tv, tq = candles.tolist()
    both = price_decimals + quantity_decimals
    prices = (fixed_column(column, price_decimals) for column in (o, h, low, c))
    volumes = fixed_column(v, quantity_decimals), fixed_column(tv, quantity_decimals)
    turnovers = fixed_column(q, both), fixed_column(tq, both)
    span = interval_ms - 1
    return [
        f'[{t},"{o}","{h}","{low}","{c}","{v}",{t + span},"{q}",{n},"{tv}","{tq}","0"],'.encode()
        for t, o, h, low, c, v, q, n, tv, tq in zip(
            times, *prices, volumes[0], turnovers[0], n, volumes[1], turnovers[1], strict=True
        )
    ]
