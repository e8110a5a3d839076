"""The rows of running: what the whole service takes of a machine, idle, at closes and in a day.

The service runs as `make run` runs it, with its schedules and streams, against the simulated
exchanges, over stores like its own. Network is what went over the loopback interface, to and from
the exchanges only: the stores are asked over sockets of the file system.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import asyncpg
import psutil

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.closes import run_steps
from benchmarks.collecting import Exchanges, exchanges
from benchmarks.machine import ROOT
from benchmarks.markets import named, options, rest_settings, stream_settings
from benchmarks.report import Row, Sample
from benchmarks.service import serving
from market.timeframes import DAY_MS, MINUTE_MS, Timeframe

PART: Final = "running"
_DAY_S: Final = DAY_MS / 1000
_QUARTER_S: Final = 15 * MINUTE_MS / 1000
_CLOSE_S: Final = Timeframe.M5.interval_ms / 1000
_BEFORE_S: Final = 30.0
_SAMPLES_OF_WINDOW: Final = 10
_WAL: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
_SIZE: Final = "SELECT pg_database_size(current_database())"
_TIMEFRAMES: Final = len(tuple(Timeframe))


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of running and adds them to `bench`."""
    sizes = bench.sizes
    async with open_stores(bench.folder / "running-stores") as stores:
        bench.say("running: markets and first collections")
        async with exchanges(bench, *options(sizes.closes), "--no-limits") as free:
            jobs = ("discovery", "funding", "collect:all", "fill")
            await run_steps(bench, stores, free.address, ROOT, sizes.closes, *jobs)
        latency = ["--latency-ms", str(sizes.latency_ms), "--providers"]
        async with exchanges(bench, *options(sizes.closes), *latency) as asked:
            settings = rest_settings(sizes.closes, asked.address)
            settings |= stream_settings(sizes.closes, asked.address)
            settings |= {"SCHEDULES": "on", "PROVIDERS_BASE_URL": asked.address}
            egress = os.urandom(8).hex()
            async with serving(bench, stores, egress, **settings):
                await _measure(bench, stores, asked)


@dataclass(slots=True)
class _Taken:
    """What all processes of the service have taken since the first look, by process."""

    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    written: Counter[str] = field(default_factory=Counter)
    memory: dict[str, int] = field(default_factory=dict)  # bytes, at the last look
    _last: dict[tuple[int, float], tuple[float, int]] = field(default_factory=dict)

    def look(self, processes: Iterator[psutil.Process], *, with_memory: bool) -> None:
        """Adds what was taken since the last look; of a process that is new, since its start."""
        first, memory = not self._last, Counter[str]()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                name, key = _name(process), (process.pid, process.create_time())
                times = process.cpu_times()
                cpu_s, written = times.user + times.system, _written(process)
                start = (cpu_s, written) if first else (0.0, 0)
                known_s, known = self._last.get(key, start)
                self.cpu_s[name] += cpu_s - known_s
                self.written[name] += written - known
                self._last[key] = cpu_s, written
                if with_memory:
                    info = process.memory_full_info()
                    memory[name] += getattr(info, "pss", info.rss)
        if with_memory:
            self.memory = dict(memory)


def _written(process: psutil.Process) -> int:
    """Bytes that it has written to disk; 0 where the system does not say."""
    if not hasattr(process, "io_counters"):
        return 0
    found: int = process.io_counters().write_bytes
    return found


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    for place, word in enumerate(words):
        if word.endswith("main.py"):
            return words[place + 1]
    return process.name()


def _processes(simulator: int) -> Iterator[psutil.Process]:
    """The service's processes and the stores': all that this one has started but the simulator."""
    for process in psutil.Process().children(recursive=True):
        if process.pid != simulator:
            yield process


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the stores, the exchanges and the network have counted so far."""

    commands: int
    wal: int
    network: int
    requests: int

    @classmethod
    async def now(cls, stores: Stores, asked: Exchanges) -> "_Counted":
        stats: Any = await stores.store.execute("INFO", "stats")
        return cls(
            commands=_number(stats, b"total_commands_processed"),
            wal=await _ask(stores, _WAL),
            network=_loopback(),
            requests=(await asked.get("stats"))["total"],
        )


def _number(info: bytes, name: bytes) -> int:
    return int(info.partition(name + b":")[2].split()[0])


async def _ask(stores: Stores, query: str) -> int:
    connection = await asyncpg.connect(stores.database_url, timeout=30)
    try:
        found: int = await connection.fetchval(query, timeout=30)
    finally:
        await connection.close(timeout=30)
    return found


def _loopback() -> int:
    interfaces = psutil.net_io_counters(pernic=True)
    return sum(interfaces[name].bytes_recv for name in ("lo", "lo0") if name in interfaces)


async def _measure(bench: BenchmarkRun, stores: Stores, asked: Exchanges) -> None:
    sizes = bench.sizes
    await _warm(bench)
    taken, simulator = _Taken(), asked.pid
    every_s = sizes.running_window_s / _SAMPLES_OF_WINDOW
    bench.say(f"running: {sizes.running_s:.0f} s")
    taken.look(_processes(simulator), with_memory=True)
    before = await _Counted.now(stores, asked)
    began_s = time.monotonic()
    seen: list[tuple[float, float]] = [(0.0, 0.0)]  # seconds, CPU seconds since then
    memory: list[int] = []
    while seen[-1][0] < sizes.running_s:
        await asyncio.sleep(every_s)
        with_memory = len(seen) % _SAMPLES_OF_WINDOW == 0
        await asyncio.to_thread(taken.look, _processes(simulator), with_memory=with_memory)
        seen.append((time.monotonic() - began_s, sum(taken.cpu_s.values())))
        if with_memory:
            memory.append(sum(taken.memory.values()))
    after = await _Counted.now(stores, asked)
    taken.look(_processes(simulator), with_memory=True)
    memory.append(sum(taken.memory.values()))
    if sizes.running_s > _CLOSE_S and after.requests == before.requests:
        raise RuntimeError("the exchanges were asked for nothing, though a close came")
    _add(bench, taken, seen, memory, before, after)
    await _add_stores(bench, stores, before, after, seen[-1][0])


async def _warm(bench: BenchmarkRun) -> None:
    """Waits for the second close, from which on streams are proven; not with small sizes."""
    if bench.sizes.running_s >= _QUARTER_S:
        bench.say("running: waiting until shortly before the second close")
        await asyncio.sleep(2 * _CLOSE_S - time.time() % _CLOSE_S - _BEFORE_S)


def _add(
    bench: BenchmarkRun,
    taken: _Taken,
    seen: list[tuple[float, float]],
    memory: list[int],
    before: _Counted,
    after: _Counted,
) -> None:
    seconds = seen[-1][0]
    windows = _windows(seen, bench.sizes.running_window_s)
    days = _DAY_S / seconds
    markets = named(bench.sizes.closes)

    def add(what: str, unit: str, value: float, note: str = "") -> None:
        bench.add(Row(PART, what, "", unit, [Sample(value)], None, note))

    note = f"of {seconds:.0f} s, with {markets}; CPU by process: {_told(taken.cpu_s, ' s')}"
    add("CPU of all processes, mean", "% of a core", 100 * seen[-1][1] / seconds, note)
    window_s = bench.sizes.running_window_s
    add(f"CPU of all processes, the calmest {window_s:g} s (idle)", "% of a core", min(windows))
    add(f"CPU of all processes, the busiest {window_s:g} s (a close)", "% of a core", max(windows))
    note = f"shared pages counted once; at the end {_told(taken.memory, ' MB', 1e6)}"
    add("memory of all processes, median", "MB", median(memory) / 1e6, note)
    add("memory of all processes, most", "MB", max(memory) / 1e6)
    note = f"by process: {_told(taken.written, ' MB', 1e6)} in {seconds:.0f} s"
    add("disk written in a day", "GB", taken.written.total() * days / 1e9, note)
    network = after.network - before.network
    note = "both ways, of the loopback interface, streams included; the simulator does not compress"
    add("network to the exchanges in a day", "GB", network * days / 1e9, note)
    add("requests to the exchanges in a day", "", (after.requests - before.requests) * days)


def _windows(seen: list[tuple[float, float]], window_s: float) -> list[float]:
    """Percent of a core in each stretch of so many seconds, or a sample more."""
    found = []
    for began_s, before_s in seen:
        for until_s, after_s in seen:
            if until_s - began_s >= window_s:
                found.append(100 * (after_s - before_s) / (until_s - began_s))
                break
    return found


def _told(found: Mapping[str, float], unit: str, by: float = 1.0) -> str:
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value / by:.3g}{unit}" for name, value in ordered)


async def _add_stores(
    bench: BenchmarkRun, stores: Stores, before: _Counted, after: _Counted, seconds: float
) -> None:
    info: Any = await stores.store.execute("INFO", "memory")
    series = sum(bench.sizes.closes) * _TIMEFRAMES

    def add(what: str, unit: str, value: float, note: str = "") -> None:
        bench.add(Row(PART, what, "", unit, [Sample(value)], None, note))

    add("commands of the hot store a second", "/s", (after.commands - before.commands) / seconds)
    each = "per market and timeframe"
    note = "documents, bases, events and journal; measured after the run"
    add(
        f"memory of the hot store, {each}", "kB", _number(info, b"used_memory") / series / 1e3, note
    )
    wal = (after.wal - before.wal) * _DAY_S / seconds / series / 1e3
    add(f"write-ahead log of the database in a day, {each}", "kB", wal)
    size = await _ask(stores, _SIZE)
    add("size of the database", "MB", size / 1e6, "with what the first collections brought")
