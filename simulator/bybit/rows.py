"""Bybit's rows of candles, of their prices, and of open interest, as JSON bytes."""

from simulator.candles import CLOSE, TIME, Ints
from simulator.market import Market
from simulator.text import fixed, plain_column, rescaled


def kline_rows(candles: Ints, price_decimals: int, quantity_decimals: int) -> list[bytes]:
    """One JSON array of 7 strings for each candle, followed by a comma."""
    times, o, h, low, c, v, q = candles[:7].tolist()
    prices = (plain_column(column, price_decimals) for column in (o, h, low, c))
    volumes = plain_column(v, quantity_decimals)
    turnovers = plain_column(q, price_decimals + quantity_decimals)
    return [
        f'["{t}","{o}","{h}","{low}","{c}","{v}","{q}"],'.encode()
        for t, o, h, low, c, v, q in zip(times, *prices, volumes, turnovers, strict=True)
    ]


def price_rows(candles: Ints, price_decimals: int) -> list[bytes]:
    """Candles of mark or index price: one JSON array of 5 strings each, followed by a comma."""
    times, *prices = candles[: CLOSE + 1].tolist()
    texts = (plain_column(column, price_decimals) for column in prices)
    return [
        f'["{t}","{o}","{h}","{low}","{c}"],'.encode()
        for t, o, h, low, c in zip(times, *texts, strict=True)
    ]


def premium_rows(candles: Ints) -> list[bytes]:
    """Candles of the premium index; as mark and index price are equal, there is none (choice)."""
    return [f'["{time}","0","0","0","0"],'.encode() for time in candles[TIME].tolist()]


def open_interest_rows(
    market: Market, period_ms: int, first_ms: int, last_ms: int
) -> tuple[list[int], list[bytes]]:
    points = market.snapshots(period_ms, first_ms, last_ms)
    decimals, single_from_ms = market.open_interest_decimals, market.single_oi_from_ms
    times, rows = points[0].tolist(), []
    for time, value in zip(times, points[1].tolist(), strict=True):
        both = fixed(rescaled(2 * value, decimals, 8), 8)
        single = ""
        if single_from_ms is not None and time >= single_from_ms:
            single = f'"singleOpenInterest":"{fixed(rescaled(value, decimals, 8), 8)}",'
        rows.append(f'{{"openInterest":"{both}",{single}"timestamp":"{time}"}},'.encode())
    return times, rows
