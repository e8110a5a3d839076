"""Bybit's rows of candles as wire bytes."""

from simulator.candles import Ints
from simulator.text import plain_column


def kline_rows(candles: Ints, price_decimals: int, quantity_decimals: int) -> list[bytes]:
    """One JSON array of 7 strings for each candle, with a comma behind it."""
    times, o, h, low, c, v, q = candles[:7].tolist()
    prices = (plain_column(column, price_decimals) for column in (o, h, low, c))
    volumes = plain_column(v, quantity_decimals)
    turnovers = plain_column(q, price_decimals + quantity_decimals)
    return [
        f'["{t}","{o}","{h}","{low}","{c}","{v}","{q}"],'.encode()
        for t, o, h, low, c, v, q in zip(times, *prices, volumes, turnovers, strict=True)
    ]
