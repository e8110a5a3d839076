"""The context of a benchmark run: sizes, cores, its folder, its stores and the rows measured."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks.machine import ROOT, Cores, environment
from benchmarks.report import LeftOut, Row
from benchmarks.sizes import Sizes
from cache_manager import CacheManager
from config import Settings, load_settings
from stores.embedded.stores import EmbeddedStores, remove_embedded_data
from stores.hot.leases import Lease, try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore

NO_DATABASE: Final = "postgresql://nobody@127.0.0.1:1/none"


@dataclass(slots=True)
class BenchmarkRun:
    """One run of the benchmarks; its parts add to `rows` and `left_out`."""

    sizes: Sizes
    cores: Cores
    folder: Path
    rows: list[Row] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def say(self, line: str) -> None:
        sys.stderr.write(f"bench: {line}\n")
        sys.stderr.flush()

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.say(f"{row.what}: {row.value:.3g}" + ("" if row.met is not False else " (not met)"))


@dataclass(frozen=True, slots=True)
class Stores:
    """The benchmarks' own stores, and a client of the hot one."""

    redis_url: str
    database_url: str
    store: HotStore
    cache: CacheManager

    def settings(self) -> Settings:
        return _settings(self.redis_url, self.database_url)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment variables of a process that uses these stores."""
        return environment(
            REDIS_URL=self.redis_url,
            DATABASE_URL=self.database_url,
            PYTHONPATH=str(ROOT),
            PORT="0",
            LOG_LEVEL="ERROR",
            MIN_REFRESH_S="0",  # a run measures work, no pause
            **more,
        )

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        lease = await try_acquire(self.store, "worker", holder="benchmarks", ttl_s=60)
        if lease is None:
            raise RuntimeError("another process holds the worker lease of the benchmarks' store")
        try:
            yield lease
        finally:
            await lease.release()


@contextlib.asynccontextmanager
async def open_stores(
    folder: Path, cores: tuple[int, ...] = (), *, postgres: bool = True
) -> AsyncIterator[Stores]:
    """Starts stores in `folder`, with Valkey pinned to `cores`, and removes them afterwards.

    Without `postgres` its address is one where no server answers.
    """
    await asyncio.to_thread(folder.mkdir)
    try:
        async with EmbeddedStores(folder, postgres=postgres) as embedded:
            addresses = await embedded.start()
            redis_url, database_url = addresses.redis_url, addresses.database_url or NO_DATABASE
            assert redis_url  # noqa: S101 - EmbeddedValkey starts it
            store = open_hot_store(_settings(redis_url, database_url), client_name="benchmarks")
            try:
                if cores:
                    await _keep_on(store, cores)
                yield Stores(redis_url, database_url, store, CacheManager(store))
            finally:
                await store.aclose()
    finally:
        await asyncio.to_thread(remove_embedded_data, folder)


def _settings(redis_url: str, database_url: str) -> Settings:
    return load_settings(redis_url=redis_url, database_url=database_url)


async def _keep_on(store: HotStore, cores: tuple[int, ...]) -> None:
    text = await store.execute("INFO", "server")
    for line in text.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"process_id" and hasattr(os, "sched_setaffinity"):
            for thread in psutil.Process(int(value)).threads():
                os.sched_setaffinity(thread.id, cores)
