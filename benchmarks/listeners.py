"""Listeners of GET /events: 5,000 on one API process, how soon all are told and what each takes.

`python -m benchmarks.listeners`: real sockets over 127.0.0.1, a real Valkey, one API process. The
events are those of a job, of a publish and of its candles, each told to everybody. Memory is the
growth of the process's resident memory from before the listeners to after the events.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import psutil
import uvloop

from benchmarks.benchmark_run import Stores, open_stores
from benchmarks.machine import ROOT, Cores, running
from commands.open_files import raise_open_file_limit
from documents.changes import Changes, MarketChange, encode_change, encode_changes
from job_queue.queue import JobQueue

LISTENERS: Final = 5000
MARKETS: Final = 950
MOST_S: Final = 1.0
MOST_BYTES: Final = 20_000
_AT_ONCE: Final = 100
_WITHIN_S: Final = 60.0
_LAST_MARKET: Final = "LASTUSDT"
_ROW: Final = (1_763_726_400_000, 86000.1, 86500.0, 85800.0, 86123.4, 5123.5, 441e6, 9e4, 1e-4)


class Listener(asyncio.Protocol):
    """One connection; tells when `marker` has come, which the test changes for each event."""

    def __init__(self, request: bytes, told: "Told") -> None:
        self._request = request
        self._told = told
        self._tail = b""
        self._counted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        # A marker may come in two parts.
        if self._counted != self._told.number and self._told.marker in self._tail + data:
            self._counted = self._told.number
            self._told.one()
        self._tail = data[-100:] if self._counted != self._told.number else b""


class Told:
    """Counts the listeners that have got the marker."""

    def __init__(self) -> None:
        self.marker = b""
        self.number = 0
        self._missing = 0
        self._all = asyncio.Event()

    def expect(self, marker: bytes, listeners: int) -> None:
        self.marker, self._missing = marker, listeners
        self.number += 1
        self._all.clear()

    def one(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._all.set()

    async def all(self) -> None:
        async with asyncio.timeout(_WITHIN_S):
            await self._all.wait()


@dataclass(frozen=True, slots=True)
class Measured:
    """`told_s`: by kind of event, from the command that makes it until the last listener has it."""

    listeners: int
    bytes_each: float
    told_s: dict[str, Sequence[float]]


async def measure(stores: Stores, folder: Path, listeners: int, runs: int) -> Measured:
    cores = Cores.of_this_machine()
    most = str(2 * listeners)
    env = stores.environment(DATA_DIR=str(folder), MAX_LISTENERS_PER_CLIENT=most)
    command = [sys.executable, str(ROOT / "main.py"), "api"]
    async with running(command, cwd=folder, env=env, cores=cores.server) as server:
        port = int(server.address.rpartition(":")[2])
        told = Told()
        # The first listener starts what all share.
        first = await _join(port, 1, told)
        before = _memory(server.process)
        others = await _join(port, listeners - 1, told)
        told_s = await _tell(stores, told, listeners, runs)
        each = (_memory(server.process) - before) / (listeners - 1)
        for transport in (*first, *others):
            transport.abort()
    return Measured(listeners, each, told_s)


async def _join(port: int, count: int, told: Told) -> list[asyncio.Transport]:
    """Opens listeners, so many at once; returns when all have joined."""
    loop = asyncio.get_running_loop()
    request = b"GET /events?timeframe=5m HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    found: list[asyncio.Transport] = []
    for start in range(0, count, _AT_ONCE):
        wanted = min(_AT_ONCE, count - start)
        told.expect(b"retry:", wanted)
        opened = (
            loop.create_connection(lambda: Listener(request, told), "127.0.0.1", port)
            for _ in range(wanted)
        )
        found += [transport for transport, _ in await asyncio.gather(*opened)]
        await told.all()
    return found


async def _tell(
    stores: Stores, told: Told, listeners: int, runs: int
) -> dict[str, Sequence[float]]:
    queue = JobQueue(stores.store)
    found: dict[str, list[float]] = {"job": [], "document": [], "candles": []}
    version = 0
    async with stores.lease() as lease:
        for _ in range(runs):
            for state, change in (("queued", queue.request), ("aborted", queue.abort)):
                told.expect(b'"state":"%b"' % state.encode(), listeners)
                began_s = time.monotonic()
                await change("discovery")
                await told.all()
                found["job"].append(time.monotonic() - began_s)
            for kind, text in (("document", b""), ("candles", _changes())):
                version += 1
                marker = b'"path":"/cache/5m"' if kind == "document" else _LAST_MARKET.encode()
                told.expect(marker, listeners)
                began_s = time.monotonic()
                await stores.cache.save_to_cache(
                    "5m",
                    b"{}",
                    version=version,
                    as_of_ms=version,
                    updated_at_ms=version,
                    lease=lease,
                    changes=Changes(version - 1, MARKETS if text else 0, 0, text),
                )
                await told.all()
                found[kind].append(time.monotonic() - began_s)
    await queue.aclose()
    return dict(found)


def _changes() -> bytes:
    """A row of every market: what a close of 5m brings."""
    names = [*(f"COIN{number}USDT" for number in range(1, MARKETS)), _LAST_MARKET]
    markets = [encode_change(MarketChange("binance", name, [_ROW])) for name in names]
    return encode_changes(markets, [], [], [], {"binance": MARKETS})


def _memory(process: psutil.Process) -> int:
    found: Any = process.memory_info().rss
    return int(found)


async def run(listeners: int, runs: int) -> Measured:
    raise_open_file_limit()
    with tempfile.TemporaryDirectory(prefix="perpcache-bench-") as folder:
        async with open_stores(Path(folder) / "stores", postgres=False) as stores:
            return await measure(stores, Path(folder), listeners, runs)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listeners", description=__doc__)
    parser.add_argument("--listeners", type=int, default=LISTENERS)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(arguments.listeners, arguments.runs))
    sys.stdout.write(f"{found.listeners} listeners: {found.bytes_each / 1000:.1f} KB each\n")
    for kind, times_s in found.told_s.items():
        sys.stdout.write(f"{kind}: all told in {median(times_s):.3f} s (most {max(times_s):.3f})\n")
    worst = max(median(times_s) for kind, times_s in found.told_s.items() if kind != "candles")
    met = worst <= MOST_S and found.bytes_each <= MOST_BYTES
    sys.stdout.write(f"bound of {MOST_S:g} s and {MOST_BYTES / 1000:g} KB each: {met}\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
