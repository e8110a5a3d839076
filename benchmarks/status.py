"""GET /status: what 200 open pages cost the API, and how long a fresh answer takes."""

import asyncio
import sys
import time
from typing import Final

import aiohttp

from benchmarks.benchmark_run import BenchmarkRun, open_stores
from benchmarks.machine import ROOT, Running, running
from benchmarks.report import Row, Sample, Target
from documents.names import SERVED

PART: Final = "status"
_PAGES: Final = 200
_EVERY_S: Final = 3.0
_ROUNDS: Final = 3  # of all pages
_FRESH: Final = 8  # answers
_SHARED_S: Final = 1.1  # after which an answer is made anew
_GZIP: Final = {"Accept-Encoding": "gzip"}


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of the status and adds them to `bench`."""
    load_cores = bench.cores.load if bench.cores.load != bench.cores.server else ()
    folder = bench.folder / "status-stores"
    async with open_stores(folder, load_cores) as stores:
        async with stores.lease() as lease:
            for name in SERVED:
                version = await stores.cache.next_version(name, 1)
                await stores.cache.save_to_cache(
                    name, b"{}", version=version, as_of_ms=1, updated_at_ms=1, lease=lease
                )
        env = stores.environment(DATA_DIR=str(folder))
        command = [sys.executable, str(ROOT / "main.py"), "api"]
        async with running(command, cwd=bench.folder, env=env, cores=bench.cores.server) as ours:
            shares, fresh = [], []
            for _ in range(bench.sizes.runs):
                shares.append(Sample(100 * await _share(ours)))
                fresh.append(Sample(1000 * await _fresh_s(ours)))
    what = f"CPU of the API for {_PAGES} pages that ask for /status every {_EVERY_S:g} s"
    note = "of a core, with what the process costs by itself; gzip, connections kept"
    bench.add(Row(PART, what, "", "%", shares, Target("<=", 5, "%"), note))
    note = "made anew of both stores, with the client's part"
    bench.add(Row(PART, "a fresh /status", "", "ms", fresh, Target("<=", 20, "ms"), note))


async def _share(ours: Running) -> float:
    """The share of a core that the API takes while the pages poll."""
    connector = aiohttp.TCPConnector(limit=_PAGES)
    async with aiohttp.ClientSession(ours.address, connector=connector, headers=_GZIP) as client:
        await asyncio.gather(*(_get(client) for _ in range(_PAGES)))  # all are connected
        before_s, began = ours.cpu_s(), time.monotonic()
        await asyncio.gather(*(_page(client, began, number) for number in range(_PAGES)))
        return (ours.cpu_s() - before_s) / (time.monotonic() - began)


async def _page(client: aiohttp.ClientSession, began: float, number: int) -> None:
    for place in range(_ROUNDS):
        due = began + (place + number / _PAGES) * _EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await _get(client)


async def _fresh_s(ours: Running) -> float:
    """The median time of answers that none before them share."""
    took = []
    async with aiohttp.ClientSession(ours.address, headers=_GZIP) as client:
        for _ in range(_FRESH):
            await asyncio.sleep(_SHARED_S)
            began = time.monotonic()
            await _get(client)
            took.append(time.monotonic() - began)
    return sorted(took)[len(took) // 2]


async def _get(client: aiohttp.ClientSession) -> None:
    async with client.get("/status") as answer:
        await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"/status was answered {answer.status}")
