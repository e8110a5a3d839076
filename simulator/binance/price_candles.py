"""Binance's candles of the mark price, the index price and the premium index.

Choice: the mark price is the contract's own price, as in premiumIndex, and the index price is one
part in 5000 above it.
"""

from collections.abc import Callable
from typing import Final

from simulator.candles import CLOSE, Ints
from simulator.text import fixed, rescaled

DECIMALS: Final = 8


def index_price(mark: int) -> int:
    """The index price beside a mark price, both in units of 10^-8."""
    return mark + mark // 5000


def _premium(mark: int) -> int:
    index = index_price(mark)
    return (mark - index) * 10**DECIMALS // index if index else 0


VALUES: Final[dict[str, Callable[[int], int]]] = {
    "mark_klines": lambda mark: mark,
    "index_klines": index_price,
    "premium_klines": _premium,
}


def price_rows(candles: Ints, interval_ms: int, price_decimals: int, endpoint: str) -> list[bytes]:
    """One JSON array of 12 values for each candle, followed by a comma.

    Nothing is traded in them: volumes are "0", and the count is one of prices, one a second
    (choice).
    """
    value = VALUES[endpoint]
    rows = []
    for time, *prices in candles[: CLOSE + 1].T.tolist():
        o, *others, c = (value(rescaled(price, price_decimals, DECIMALS)) for price in prices)
        texts = (fixed(number, DECIMALS) for number in (o, max(others), min(others), c))
        rows.append(
            '[{},"{}","{}","{}","{}","0",{},"0",{},"0","0","0"],'.format(
                time, *texts, time + interval_ms - 1, interval_ms // 1000
            ).encode()
        )
    return rows
