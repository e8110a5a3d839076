"""Binance's rows of candles, open interest and funding, as JSON bytes."""

from typing import Final

import numpy as np

from simulator.candles import Ints
from simulator.funding import RATE_DECIMALS, Settlement
from simulator.market import Market
from simulator.randomness import draw
from simulator.text import fixed, fixed_column, rescaled

_OLD_FUNDING_MS: Final = 1_693_526_400_000  # markPrice is empty on rows older than 2023-09 (choice)


def kline_rows(
    candles: Ints, interval_ms: int, price_decimals: int, quantity_decimals: int
) -> list[bytes]:
    """One JSON array of 12 values for each candle, followed by a comma."""
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


def open_interest_rows(
    market: Market, period_ms: int, first_ms: int, last_ms: int
) -> tuple[list[int], list[bytes]]:
    points = market.snapshots(period_ms, first_ms, last_ms)
    times, values = points[0].tolist(), points[1].tolist()
    decimals = market.open_interest_decimals
    if len(points) > 2:
        amounts = points[2].tolist()  # recorded, in 10^-8
    else:
        prices = market.candles.rough_prices(points[0]).tolist()
        amounts = [
            rescaled(value * price, decimals + market.price_decimals, 8)
            for value, price in zip(values, prices, strict=True)
        ]
    supply = fixed((1 + draw(0, market.name, "supply", 0, 10**9)) * 10**8, 8)
    return times, [
        f'{{"symbol":"{market.symbol}",'
        f'"sumOpenInterest":"{fixed(rescaled(value, decimals, 8), 8)}",'
        f'"sumOpenInterestValue":"{fixed(amount, 8)}",'
        f'"CMCCirculatingSupply":"{supply}","timestamp":{time}}},'.encode()
        for time, value, amount in zip(times, values, amounts, strict=True)
    ]


def funding_rows(market: Market, items: list[Settlement]) -> list[bytes]:
    """The JSON rows of settlements of one market."""
    times = np.array([item.time_ms for item in items], dtype=np.int64)
    prices = market.candles.rough_prices(times).tolist()
    rows = []
    for item, price in zip(items, prices, strict=True):
        old = item.time_ms < _OLD_FUNDING_MS
        mark = "" if old else fixed(rescaled(price, market.price_decimals, 8), 8)
        rows.append(
            f'{{"symbol":"{market.symbol}","fundingTime":{item.time_ms},'
            f'"fundingRate":"{fixed(item.rate, RATE_DECIMALS)}","markPrice":"{mark}",'
            f'"rateType":"{"Special" if item.special else "Regular"}"}}'.encode()
        )
    return rows
