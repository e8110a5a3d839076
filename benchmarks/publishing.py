"""The publishing rows: a document in which one row of each market is new, and its first slice."""

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from api.documents.content_coding import Coding
from api.documents.document_cache import DocumentCache
from api.documents.query import read_query
from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.documents import random_rows, symbol
from benchmarks.report import Row, Sample, Target
from commands.runtime import tune_garbage_collection
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
_QUERIES: Final = (f"symbol={symbol(1)}", "limit=2", "exchange=binance")


async def measure(bench: BenchmarkRun) -> None:
    """Measures publishing with and without the chunks of the version before."""
    count, length = bench.sizes.large
    tune_garbage_collection()  # as in a worker
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
        bench.say("publishing: the first slices of a version")
        slices = [await _slices(stores) for _ in places]
    samples = [Sample(ours, other) for ours, other in zip(changed, whole, strict=True)]
    what = "CPU of publishing a document in which one row of each market is new"
    note = (
        "JSON, compression, hash, base64 and sending, by the worker; the runs begin at different "
        "rows of a chunk, which decides how many of a market's rows are compressed again"
    )
    bench.add(Row(PART, what, "all of it new", "s", samples, Target("<=", 0.4), note))
    for query in _QUERIES:
        what = f"the first ?{query} of a version"
        against = "the same by its whole text"
        found = [each[query] for each in slices]
        cpu = [Sample(each.ours.cpu_ms, each.other.cpu_ms) for each in found]
        bench.add(Row(PART, f"CPU of {what}", against, "ms", cpu))
        memory = [Sample(each.ours.peak_mb, each.other.peak_mb) for each in found]
        bench.add(Row(PART, f"memory of {what}", against, "MB", memory))


@dataclass(frozen=True, slots=True)
class _Spent:
    cpu_ms: float
    peak_mb: float


class _Both(NamedTuple):
    """A slice made from chunks, and from the whole text."""

    ours: _Spent
    other: _Spent


async def _slices(stores: Stores) -> dict[str, _Both]:
    found = {}
    for query in _QUERIES:
        spent = [await _slice(stores, query, chunks=chunks) for chunks in (True, False)]
        found[query] = _Both(*spent)
    return found


async def _slice(stores: Stores, query: str, *, chunks: bool) -> _Spent:
    """The CPU and the memory of the first slice, by an API process that holds the version."""
    cpu_ms = peak_mb = 0.0
    for traced in (False, True):  # tracing takes CPU itself
        documents = DocumentCache(stores.cache)
        document = await documents.current(_TIMEFRAME)
        assert document is not None  # noqa: S101 - it has just been published
        if not chunks:
            document = replace(document, stored=replace(document.stored, stored_chunks=None))
        if traced:
            tracemalloc.start()
        began = time.process_time()
        await documents.body(document, read_query(query.encode()), Coding.DEFLATE)
        if traced:
            peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
        else:
            cpu_ms = (time.process_time() - began) * 1000
        await documents.aclose()
    return _Spent(cpu_ms, peak_mb)


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
