"""The rows of shards: first collections by two hosts with addresses of their own, and by one."""

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.collecting import Exchanges, exchanges
from benchmarks.machine import ROOT, run_measured
from benchmarks.report import Row, Sample, Target
from documents.names import base_name
from job_queue.queue import JobQueue
from market.columns import COLUMNS
from market.markets import Exchange
from market.timeframes import Timeframe
from workers.hosts import hosts_alive

PART: Final = "shards"
_ADDRESSES: Final = ("127.0.0.1", "127.0.0.2")
_NOW: Final = "2026-03-01T23:43:21Z"
_START_S: Final = 60.0
_COLLECTION_S: Final = 900.0
_LOOK_S: Final = 0.05
_MOST: Final = 0.6
_INTEREST: Final = COLUMNS.index("open_interest")


@dataclass(frozen=True, slots=True)
class _Case:
    """A job and its documents; `awaiting`: those whose open interest the job `fill` brings later,
    which is not compared. `note`: what decides how long one address needs."""

    job: str
    what: str
    made: tuple[Timeframe, ...]
    awaiting: frozenset[Timeframe]
    target: Target | None
    note: str


_CASES: Final = (
    _Case(
        "collect:4h",
        "a cold 4h collection",
        Timeframe.H4.produces,
        frozenset(),
        None,
        "bound by the processors of this machine, on which both hosts and the exchanges run",
    ),
    _Case(
        "collect:all",
        "a cold collection of all timeframes",
        tuple(Timeframe),
        frozenset(Timeframe) - {Timeframe.M5},
        Target("<=", _MOST),
        "bound by Binance's weight, four minutes of it for one address; without the open interest "
        "that the job `fill` brings later",
    ),
)


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of shards and adds them to `bench`."""
    sizes = bench.sizes
    options = ["--binance", str(sizes.cold[0]), "--bybit", str(sizes.cold[1])]
    options += ["--now", _NOW, "--frozen", "--latency-ms", str(sizes.latency_ms)]
    async with (
        open_stores(bench.folder / "shards-stores") as stores,
        exchanges(bench, *options) as limited,
        exchanges(bench, *options, "--no-limits") as free,
    ):
        for job in ("discovery", "funding"):
            await _once(bench, stores, free, job)
        for case, runs in zip(_CASES, (sizes.runs, sizes.long_shards), strict=True):
            await _compare(bench, stores, limited, case, runs)


async def _compare(
    bench: BenchmarkRun, stores: Stores, limited: Exchanges, case: _Case, runs: int
) -> None:
    times: list[Sample] = []
    asked: list[Sample] = []
    for run in range(runs):
        found = []
        for count in (2, 1):
            bench.say(f"shards: {case.job}, run {run + 1} of {runs}, {count} of 2 hosts")
            found.append(await _collected(bench, stores, limited, case, f"{run}-{count}", count))
        two, one = found
        if two.rows != one.rows:
            raise RuntimeError(f"{case.job}: two hosts have collected other rows than one")
        times.append(Sample(two.seconds, one.seconds))
        asked.append(Sample(two.by_helper, two.requests))
    what = f"wall time of {case.what} by two addresses, {sum(bench.sizes.cold)} markets"
    note = f"from the start of the job to its published documents, the same rows; {case.note}"
    bench.add(Row(PART, what, "by one address", "s", times, case.target, note))
    what = f"requests of {case.what} from the address that asked less"
    bench.add(Row(PART, what, "from both", "", asked))


class _Collected:
    """One collection: how long it took, its markets' rows by document, and who asked how often."""

    def __init__(self, job: Any, rows: Mapping[str, Any], stats: Mapping[str, int]) -> None:
        self.seconds = job.result["duration_ms"] / 1000
        self.rows = rows
        self.by_helper = min(stats.values()) if len(stats) > 1 else 0
        self.requests = sum(stats.values())


async def _once(bench: BenchmarkRun, stores: Stores, asked: Exchanges, job: str) -> None:
    """Markets and funding, which do not count."""
    env = _environment(bench, stores, asked, "once", _ADDRESSES[0]) | {"SCHEDULES": "off"}
    command = [sys.executable, "-m", "benchmarks.unpaced", job]
    await run_measured(command, cwd=bench.folder, env=env)


def _environment(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, egress: str, address: str
) -> dict[str, str]:
    return stores.environment(
        BINANCE_BASE_URL=asked.address,
        BYBIT_BASE_URL=asked.address,
        DATA_DIR=str(bench.folder / f"host-{egress}"),
        HISTORY_CANDLES=str(bench.sizes.history),
        EGRESS_ID=egress,
        EGRESS_ADDRESS=address,
        SCHEDULES="on",
        FR_REFRESH_ON_START="false",
    )


async def _collected(
    bench: BenchmarkRun, stores: Stores, asked: Exchanges, case: _Case, name: str, count: int
) -> _Collected:
    """A collection from nothing by so many hosts, whose budgets nothing was taken from."""
    await _forget(stores)
    await asked.post("limits/reset")
    async with contextlib.AsyncExitStack() as opened:
        egresses = {
            f"{case.made[0]}-{name}-{number}": _ADDRESSES[number] for number in range(count)
        }
        for egress, address in egresses.items():
            env = _environment(bench, stores, asked, egress, address)
            await opened.enter_async_context(_worker(bench, env))
        await _until_alive(stores, {*egresses})
        await asked.post("stats/reset")
        job = await _ran(stores, case.job)
        rows = {str(made): await _rows(stores, case, made) for made in case.made}
        clients = (await asked.get("stats"))["clients"]
    stats: Counter[str] = Counter()
    for counts in clients.values():
        stats.update(counts)
    return _Collected(job, rows, stats)


async def _rows(stores: Stores, case: _Case, made: Timeframe) -> Mapping[tuple[str, str], Any]:
    """The rows of a document's markets, as far as they are compared."""
    document: Any = await stores.cache.get_from_cache(made)
    found = {
        (market["exchange"], market["symbol"]): market["rows"] for market in document["markets"]
    }
    if made in case.awaiting:
        for row in chain.from_iterable(found.values()):
            del row[_INTEREST]
    return found


async def _forget(stores: Stores) -> None:
    """Removes the documents of candles and their bases, and what is still to be filled in."""
    names = [*map(str, Timeframe), *(base_name(exchange) for exchange in Exchange)]
    keys = [f"cache:{name}{end}" for name in names for end in ("", ":meta")]
    await stores.store.execute("UNLINK", *keys)


@contextlib.asynccontextmanager
async def _worker(bench: BenchmarkRun, env: Mapping[str, str]) -> AsyncIterator[None]:
    log = bench.folder / f"{os.urandom(4).hex()}.log"
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "main.py"), "worker", "--no-beat"),
            cwd=bench.folder,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_alive(stores: Stores, egresses: set[str]) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            # A host that has ended counts as alive for a while.
            if egresses == {host.egress for host in await hosts_alive(stores.store)}:
                return
            await asyncio.sleep(_LOOK_S)


async def _ran(stores: Stores, job_id: str) -> Any:
    queue = JobQueue(stores.store)
    try:
        asked = await queue.request(job_id)
        async with asyncio.timeout(_COLLECTION_S):
            while True:
                job = await queue.get(job_id)
                if job is not None and job.run >= asked.run and job.state == "complete":
                    return job
                if job is not None and job.state == "failed":
                    raise RuntimeError(f"{job_id} failed: {job.error}")
                await asyncio.sleep(_LOOK_S)
    finally:
        await queue.aclose()
