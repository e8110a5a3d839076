"""A running service and its worker: jobs by REST, CPU and memory, and when documents came."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import psutil

from benchmarks.benchmark_run import BenchmarkRun, Stores
from benchmarks.machine import ROOT, Running, running
from cache_manager import CacheManager
from market.timeframes import Timeframe

_CHILD_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.05
_ASK_EVERY_S: Final = 0.5
_DOCUMENTS: Final = tuple(map(str, Timeframe))


class TooLate(Exception):
    """Something did not come within the time that a benchmark gives it."""


@dataclass(slots=True)
class Publications:
    """When each document was first published with an `as_of` of at least `since_ms`, and when last.

    Seconds from the call of `until_all`'s loop on: the moment before the job is asked for.
    """

    since_ms: int
    first_s: dict[str, float] = field(default_factory=dict)
    last_s: dict[str, float] = field(default_factory=dict)
    versions: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def all_there(self) -> bool:
        return len(self.first_s) == len(_DOCUMENTS)

    async def follow(self, cache: CacheManager, ended: Callable[[], bool]) -> None:
        """Looks at the stored metas until `ended`, and once more then."""
        began_s = time.monotonic()
        while True:
            over = ended()
            metas = await cache.read_metas(_DOCUMENTS)
            now_s = time.monotonic() - began_s
            for name, meta in metas.items():
                if meta is None or meta.as_of_ms < self.since_ms:
                    continue
                known = self.versions.setdefault(name, [])
                if not known or known[-1][0] != meta.version:
                    known.append((meta.version, now_s))
                    self.first_s.setdefault(name, now_s)
                    self.last_s[name] = now_s
            if over:
                return
            await asyncio.sleep(_LOOK_EVERY_S)


@dataclass(frozen=True, slots=True)
class Run:
    """A complete job: seconds from its POST to its end, the worker's CPU, its result."""

    wall_s: float
    cpu_s: float
    result: Mapping[str, Any]
    publications: Publications


class Service:
    """`main.py serve` on the benchmarks' stores, and its worker process."""

    def __init__(
        self, server: Running, worker: psutil.Process, client: aiohttp.ClientSession,
        cache: CacheManager,
    ) -> None:  # fmt: skip
        self.address = server.address
        self.worker = Running(worker, server.address)
        self._server = server.process
        self._client = client
        self._cache = cache

    async def child(self, command: str) -> psutil.Process:
        """The service's process that runs this command."""
        return await _child_of(self._server, command)

    async def collect(self, timeframe: str, since_ms: int, within_s: float) -> Run:
        """POSTs a collection and follows the documents until its run has ended."""
        publications, done = Publications(since_ms), asyncio.Event()
        cpu_s, began_s = self.worker.cpu_s(), time.monotonic()
        following = asyncio.create_task(publications.follow(self._cache, done.is_set))
        try:
            async with self._client.post("/get-market-data", json={"timeframe": timeframe}) as got:
                got.raise_for_status()
                asked = await got.json()
            last = await self.ended(asked["id"], asked["run"], within_s)
        finally:
            done.set()
            await asyncio.gather(following, return_exceptions=True)
        wall_s = time.monotonic() - began_s
        return Run(wall_s, self.worker.cpu_s() - cpu_s, last["result"] or {}, publications)

    async def ended(self, job_id: str, run: int, within_s: float) -> Any:
        """The `last` of a job once its run has completed. Raises TooLate if it fails or lasts."""
        until_s = time.monotonic() + within_s
        while True:
            job = await self.job(job_id)
            last = job and job["last"]
            if last and last["run"] >= run:
                if last["state"] != "complete":
                    raise TooLate(f"{job_id} ended {last['state']}: {last['error']}")
                return last
            if time.monotonic() > until_s:
                raise TooLate(f"{job_id} did not end within {within_s:.0f} s: {job}")
            await asyncio.sleep(_ASK_EVERY_S if within_s > 60 else _LOOK_EVERY_S)

    async def filled(self, within_s: float) -> float:
        """Waits until no open interest of first collections is left to fetch; for how long."""
        began_s = time.monotonic()
        while True:
            job = await self.job("fill")
            if job is None or job["state"] not in ("queued", "active"):
                if job is not None and job["state"] != "complete":
                    raise TooLate(f"fill is {job['state']}: {job['error']}")
                return time.monotonic() - began_s
            if time.monotonic() - began_s > within_s:
                raise TooLate(f"fill did not end within {within_s:.0f} s: {job}")
            await asyncio.sleep(_ASK_EVERY_S)

    async def job(self, job_id: str) -> Any:
        async with self._client.get(f"/jobs/{job_id}") as answer:
            if answer.status == 404:
                return None
            answer.raise_for_status()
            return await answer.json()

    async def document(self, name: str, **query: str) -> Any:
        async with self._client.get(f"/cache/{name}", params=query) as answer:
            answer.raise_for_status()
            return await answer.json()


@contextlib.asynccontextmanager
async def serving(
    bench: BenchmarkRun, stores: Stores, egress: str, **settings: str
) -> AsyncIterator[Service]:
    """Runs the service, with budgets of its own. `settings`: also the exchanges' addresses."""
    env = stores.environment(
        HISTORY_CANDLES=str(bench.sizes.history),
        DATA_DIR=str(bench.folder / "service"),
        EGRESS_ID=egress,
        **settings,
    )
    command = [sys.executable, str(ROOT / "main.py"), "serve"]
    async with (
        running(command, cwd=bench.folder, env=env) as server,
        aiohttp.ClientSession(server.address) as client,
    ):
        worker = await _child_of(server.process, "worker")
        yield Service(server, worker, client, stores.cache)


async def _child_of(server: psutil.Process, command: str) -> psutil.Process:
    async with asyncio.timeout(_CHILD_S):
        while True:
            for child in server.children():
                with contextlib.suppress(psutil.Error):
                    if command in child.cmdline():
                        return child
            await asyncio.sleep(_LOOK_EVERY_S)
