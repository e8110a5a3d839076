"""The rows of bots: what an answer of each kind takes of an API core, and 2,000 bots at once."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.bot_load import Kind, Plan, Told, run_bots
from benchmarks.documents import build_document, publish, random_rows, symbol
from benchmarks.machine import ROOT, Running, running
from benchmarks.report import Row, Sample, Target
from cache_manager import DocumentMeta
from documents.changes import Changes, MarketChange, encode_change, encode_changes
from market.timeframes import Timeframe
from stores.hot.leases import Lease
from timing.clock import now_ms

PART: Final = "bots"
DOCUMENT: Final = Timeframe.H4
_PATH: Final = f"/cache/{DOCUMENT}"
WHOLE: Final = "a whole document"
MARKET: Final = "one market of it"
CUT: Final = "one market of it, the first in a version"
NEWEST: Final = "the last two rows of all markets"
KNOWN: Final = "nothing new (304)"
EVENTS: Final = "events of one market"
_MOST_LISTENERS: Final = "100000"
_JOIN_S: Final = 60.0
_EVENTS_S: Final = 90.0  # until all have come
_TOLD: Final = 5  # versions that the listeners of the row of events are told
_BETWEEN_S: Final = 0.4


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of bots and adds them to `bench`."""
    load_cores = bench.cores.load if bench.cores.load != bench.cores.server else ()
    folder = bench.folder / "bots-stores"
    with kept_on(load_cores):
        async with (
            open_stores(folder, load_cores, postgres=False) as stores,
            stores.lease() as lease,
        ):
            bench.say("bots: publishing a document")
            meta = await publish(stores.cache, lease, DOCUMENT, *bench.sizes.large)
            await _by_kind(bench, stores, meta)
            await _events(bench, stores, lease)
            await _mixed(bench, stores, lease)


@contextlib.contextmanager
def kept_on(cores: tuple[int, ...]) -> Iterator[None]:
    """Keeps this process off the server's core."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.asynccontextmanager
async def api(bench: BenchmarkRun, stores: Stores, **more: str) -> AsyncIterator[Running]:
    """An API process that lets all bots of this machine in."""
    command = [sys.executable, str(ROOT / "main.py"), "api"]
    env = stores.environment(
        DATA_DIR=str(bench.folder / "bots-api"),
        MAX_LISTENERS_PER_CLIENT=_MOST_LISTENERS,
        PROVIDERS="off",
        **more,
    )
    async with running(command, cwd=bench.folder, env=env, cores=bench.cores.server) as server:
        yield server


def port_of(server: Running) -> int:
    return int(server.address.rpartition(":")[2])


def _symbol_paths(markets: int) -> list[str]:
    return [f"{_PATH}?symbol={symbol(number)}" for number in range(markets)]


# --- one kind alone ------------------------------------------------------------------------------


async def _by_kind(bench: BenchmarkRun, stores: Stores, meta: DocumentMeta) -> None:
    sizes = bench.sizes
    async with api(bench, stores) as server:
        etag = await _etag(server)
        slices = _symbol_paths(min(sizes.connections, sizes.large[0]))
        for kind in (
            Kind(WHOLE, sizes.connections, [_PATH], 0, validated=False),
            Kind(MARKET, sizes.connections, slices, 0, validated=False),
            Kind(CUT, sizes.connections, slices, 0, validated=False, anew=True),
            Kind(NEWEST, sizes.connections, [f"{_PATH}?limit=2"], 0, validated=False),
            Kind(KNOWN, sizes.connections, [_PATH], 0, etag=etag),
        ):
            await run_bots(Plan(port_of(server), 0.2, [kind]), bench.cores.load)  # cuts, once
            cpu, size = [], []
            for _ in range(sizes.runs):
                before_s = server.cpu_s()
                plan = Plan(port_of(server), sizes.seconds, [kind])
                told = (await run_bots(plan, bench.cores.load))[kind.name]
                _check(told)
                cpu.append(Sample(1000 * (server.cpu_s() - before_s) / told.answers))
                size.append(Sample(told.received / told.answers / 1000))
            note = f"{sizes.connections} connections ask again at once; the client is not counted"
            bench.add(
                Row(PART, f"CPU of the API per answer, {kind.name}", "", "ms", cpu, None, note)
            )
            bench.add(Row(PART, f"bytes of an answer, {kind.name}", "", "kB", size))
    stored = Sample(meta.stored_bytes / 1000)
    markets, rows = sizes.large
    bench.add(Row(PART, f"the document, {markets} x {rows}, as stored", "", "kB", [stored]))


async def _etag(server: Running) -> str:
    headers = {"Accept-Encoding": "deflate"}
    async with (
        aiohttp.ClientSession(server.address, auto_decompress=False) as client,
        client.get(_PATH, headers=headers) as answer,
    ):
        answer.raise_for_status()
        return answer.headers["ETag"]


def _check(told: Told) -> None:
    if told.refused or not told.answers:
        raise RuntimeError(f"{told.refused} of the bots' questions failed, {told.answers} not")


# --- events --------------------------------------------------------------------------------------


async def _events(bench: BenchmarkRun, stores: Stores, lease: Lease) -> None:
    """CPU and bytes of an event for a listener; each of them follows one market."""
    listeners, markets = bench.sizes.bots_events, bench.sizes.large[0]
    cpu, size = [], []
    async with api(bench, stores) as server:
        for _ in range(bench.sizes.runs):
            kind = Kind(EVENTS, listeners, _event_paths(Timeframe.M5, markets), None)
            expected = 2 * _TOLD * listeners
            plan = Plan(port_of(server), _EVENTS_S, [kind], events=expected)
            bots = asyncio.create_task(run_bots(plan, bench.cores.load))
            await _joined(server, listeners)
            before_s = server.cpu_s()
            for _ in range(_TOLD):
                version = await stores.cache.next_version(Timeframe.M5, now_ms())
                await stores.cache.save_to_cache(
                    Timeframe.M5,
                    b"{}",
                    version=version,
                    as_of_ms=version,
                    updated_at_ms=version,
                    lease=lease,
                    changes=_changes(Timeframe.M5, markets, version),
                )
                await asyncio.sleep(_BETWEEN_S)
            told = (await bots)[EVENTS]
            _check_events(told, expected)
            cpu.append(Sample(1000 * (server.cpu_s() - before_s) / told.events))
            size.append(Sample(told.received / told.events / 1000))
    note = f"{listeners} listeners, each of one market: its candles, and that the document came"
    bench.add(Row(PART, f"CPU of the API per event, {EVENTS}", "", "ms", cpu, None, note))
    bench.add(Row(PART, f"bytes of an event, {EVENTS}", "", "kB", size))


def _check_events(told: Told, least: int) -> None:
    if told.refused or told.events < least:
        raise RuntimeError(f"{told.events} events came, of at least {least}; {told.refused} failed")


def _event_paths(timeframe: Timeframe, markets: int) -> list[str]:
    return [f"/events?timeframe={timeframe}&symbol={symbol(number)}" for number in range(markets)]


async def _joined(server: Running, listeners: int) -> None:
    async with aiohttp.ClientSession(server.address) as client, asyncio.timeout(_JOIN_S):
        while True:
            async with client.get("/metrics") as answer:
                text = await answer.text()
            found = re.search(r"^perpcache_http_listeners(?:\{.*?\})? ([\d.]+)", text, re.M)
            if found and float(found[1]) >= listeners:
                return
            await asyncio.sleep(0.1)


def _changes(timeframe: Timeframe, markets: int, version: int) -> Changes:
    """A closed row of every market, which is what a close brings."""
    told = [
        encode_change(
            MarketChange(
                "binance" if number % 2 else "bybit",
                symbol(number),
                random_rows(timeframe, number, 1, version),
            )
        )
        for number in range(markets)
    ]
    counts = {"binance": markets // 2, "bybit": markets - markets // 2}
    return Changes(version - 1, markets, 0, encode_changes(told, [], [], [], counts))


# --- all at once ---------------------------------------------------------------------------------


async def _mixed(bench: BenchmarkRun, stores: Stores, lease: Lease) -> None:
    sizes = bench.sizes
    markets, rows = sizes.large
    whole, slices, newest, events = sizes.bots
    pace = sizes.bots_pace_s
    kinds = [
        Kind(WHOLE, whole, [_PATH], pace),
        Kind(MARKET, slices, _symbol_paths(markets), pace),
        Kind(NEWEST, newest, [f"{_PATH}?limit=2"], pace),
        Kind(EVENTS, events, _event_paths(DOCUMENT, markets), None),
    ]
    bench.say(f"bots: building {sizes.bots_versions} versions")
    versions = []
    for number in range(sizes.bots_versions):
        version = now_ms() + 1000 * number
        document = await asyncio.to_thread(build_document, DOCUMENT, markets, rows, version)
        versions.append((version, document, _changes(DOCUMENT, markets, version)))
    async with api(bench, stores) as server:
        await _etag(server)  # the document is loaded
        before_s, began_s = server.cpu_s(), asyncio.get_running_loop().time()
        plan = Plan(port_of(server), sizes.bots_s, kinds)
        bots = asyncio.create_task(run_bots(plan, bench.cores.load))
        for version, document, changes in versions:
            await asyncio.sleep(sizes.bots_s / (len(versions) + 1))
            await stores.cache.save_to_cache(
                DOCUMENT,
                document,
                version=version,
                as_of_ms=version,
                updated_at_ms=version,
                lease=lease,
                changes=changes,
            )
        told = await bots
        took_s = asyncio.get_running_loop().time() - began_s
        cpu_s, peak_mb = server.cpu_s() - before_s, server.peak_mb()
    _add_mixed(bench, told, took_s, cpu_s, peak_mb)


def _add_mixed(
    bench: BenchmarkRun, told: dict[str, Told], took_s: float, cpu_s: float, peak_mb: float
) -> None:
    sizes = bench.sizes
    all_of = f"{sum(sizes.bots):,} bots"
    mix = ", ".join(
        f"{count} {name}"
        for count, name in zip(sizes.bots, (WHOLE, MARKET, NEWEST, EVENTS), strict=True)
    )
    answers = sum(each.answers for each in told.values())
    events = told[EVENTS].events
    sent_mb = sum(each.received for each in told.values()) / 1e6
    note = (
        f"{mix}; they poll every {sizes.bots_pace_s:g} s with their ETag, for {sizes.bots_s:g} s, "
        f"in which {sizes.bots_versions} new versions come"
    )

    def add(
        what: str, unit: str, value: float, target: Target | None = None, note: str = ""
    ) -> None:
        bench.add(Row(PART, f"{all_of}: {what}", "", unit, [Sample(value)], target, note))

    add("answers a second", "/s", answers / took_s, None, note)
    add("questions refused or cut", "", sum(e.refused for e in told.values()), Target("<=", 0))
    add("events told", "", events)
    add("CPU of the API", "%", 100 * cpu_s / took_s)
    add("CPU of the API per answer or event", "ms", 1000 * cpu_s / (answers + events))
    add("sent", "MB/s", sent_mb / took_s)
    add("memory of the API", "MB", peak_mb, None, "the peak of the process")
    of_bodies = "from when the poll was due; load generator, publisher and store share a core"
    for name in (MARKET, NEWEST, WHOLE):
        for place, quantile in ((0, "median"), (1, "99 of 100")):
            all_ms, bodies_ms = told[name].all_ms, told[name].bodies_ms
            if all_ms:
                add(f"{name}, time of a poll, {quantile}", "ms", all_ms[place])
            if bodies_ms:
                what = f"{name}, time until all of it is there, {quantile}"
                add(what, "ms", bodies_ms[place], None, "" if place else of_bodies)
