"""The publishing rows: a document in which one row of each market is new, and its first slice."""

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.documents import random_rows, symbol
from benchmarks.report import Row, Sample, Target
from documents.building import DocumentBuilder
from documents.chunks import CHUNK_ROWS
from documents.kept import KeptDocuments
from market.markets import Exchange, Market, MarketSeries
from market.rows import Rows
from market.timeframes import Timeframe
from stores.hot.leases import Lease

PART: Final = "publishing"
_TIMEFRAME: Final = Timeframe.H4
_AS_OF_MS: Final = 1_795_185_441_250
_META: Final = {"hurst": 0.53, "entropy": 0.91}
_KEEP_MB: Final = 512


async def measure(bench: BenchmarkRun) -> None:
    """Measures publishing with and without the chunks of the version before."""
    count, length = bench.sizes.large
    bench.say(f"publishing: rows of {count} markets x {length}")
    markets = [
        Market(Exchange.BINANCE if number % 2 else Exchange.BYBIT, symbol(number), "COIN", "USDT")
        for number in range(count)
    ]
    # Where chunks begin decides how many rows are compressed again: the runs go through all places.
    places = [run * CHUNK_ROWS // bench.sizes.runs for run in range(bench.sizes.runs)]
    longest = [
        Rows.of(random_rows(_TIMEFRAME, number, length + CHUNK_ROWS, _AS_OF_MS))
        for number in range(count)
    ]
    whole, changed = [], []
    async with (
        open_stores(bench.folder / "publishing-stores", postgres=False) as stores,
        stores.lease() as lease,
    ):
        for place in places:
            kept = KeptDocuments(_KEEP_MB)
            before, after = (
                [_window(rows, first, length) for rows in longest] for first in (place, place + 1)
            )
            await _publish(stores, lease, markets, before, kept)
            whole.append(await _publish(stores, lease, markets, after, None))
            changed.append(await _publish(stores, lease, markets, after, kept))
    samples = [Sample(ours, other) for ours, other in zip(changed, whole, strict=True)]
    what = "CPU of publishing a document in which one row of each market is new"
    note = "JSON, compression, hash, base64 and sending, by the worker"
    bench.add(Row(PART, what, "all of it new", "s", samples, Target("<=", 0.4), note))


def _window(rows: Rows, first: int, length: int) -> Rows:
    """`length` rows from `first` on, the last of them still forming."""
    values = rows.values[first : first + length].copy()
    values[-1] = np.round(values[-1] * 0.999, 4)
    return Rows(rows.times[first : first + length].copy(), values)


async def _publish(
    stores: Stores,
    lease: Lease,
    markets: Sequence[Market],
    rows: Sequence[Rows],
    kept: KeptDocuments | None,
) -> float:
    """The CPU time of this process for building and publishing the document, in seconds."""
    version = await stores.cache.next_version(_TIMEFRAME, _AS_OF_MS)
    began = time.process_time()
    builder = DocumentBuilder(_TIMEFRAME, "collected", kept)
    for market, each in zip(markets, rows, strict=True):
        builder.add(MarketSeries(market, each, _AS_OF_MS), _META)
    document = builder.finish_deflated(
        version=version, as_of_ms=_AS_OF_MS, updated_at_ms=version, missing=()
    )
    await stores.cache.save_to_cache(
        _TIMEFRAME,
        document,
        version=version,
        as_of_ms=_AS_OF_MS,
        updated_at_ms=version,
        lease=lease,
    )
    return time.process_time() - began
