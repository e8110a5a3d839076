"""Documents to serve in benchmarks: random numbers with the format and entropy of real rows."""

import random
from typing import Any

from cache_manager import CacheManager, DocumentMeta
from documents.building import DocumentBuilder
from documents.deflated import Deflated
from market.markets import Exchange, Market, MarketSeries
from market.timeframes import Timeframe
from stores.hot.leases import Lease
from timing.clock import now_ms


def symbol(number: int) -> str:
    return f"COIN{number:04}USDT"


def build_document(timeframe: Timeframe, markets: int, rows: int, version: int) -> Deflated:
    """Builds a document with half the markets on each exchange; its rows end at `version`, which
    is also its `as_of`."""
    builder = DocumentBuilder(timeframe, "collected")
    for number in range(markets):
        exchange = Exchange.BINANCE if number % 2 else Exchange.BYBIT
        market = Market(exchange, symbol(number), f"COIN{number:04}", "USDT")
        series = MarketSeries(market, random_rows(timeframe, number, rows, version), version)
        builder.add(series, {"hurst": 0.53, "entropy": 0.91})
    return builder.finish_deflated(
        version=version, as_of_ms=version, updated_at_ms=version, missing=()
    )


def random_rows(timeframe: Timeframe, number: int, rows: int, as_of_ms: int) -> list[Any]:
    """A market's rows up to `as_of_ms`."""
    chance = random.Random(number)  # noqa: S311 - repeatable
    price = 10.0 ** chance.uniform(0, 4)
    made = []
    for place in range(rows):
        opened = price
        price *= 1 + chance.gauss(0, 0.01)
        high, low = max(opened, price) * 1.004, min(opened, price) * 0.996
        volume = chance.expovariate(1 / 5e6)
        made.append(
            (
                timeframe.window_start(as_of_ms, rows) + place * timeframe.interval_ms,
                round(opened, 4),
                round(high, 4),
                round(low, 4),
                round(price, 4),
                round(volume, 1),
                round(volume * price, 4),
                round(volume * chance.uniform(1, 3), 2),
                round(chance.gauss(1e-4, 5e-5), 8),
            )
        )
    return made


async def publish(
    cache: CacheManager, lease: Lease, timeframe: Timeframe, markets: int, rows: int
) -> DocumentMeta:
    """Publishes a new version of such a document."""
    asked_ms = now_ms()
    version = await cache.next_version(timeframe, asked_ms)
    return await cache.save_to_cache(
        timeframe,
        build_document(timeframe, markets, rows, version),
        version=version,
        as_of_ms=version,
        updated_at_ms=version,
        lease=lease,
    )
