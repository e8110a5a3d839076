"""Reconcilers in a test: their definitions, their rows in the table, and how they are run."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from cache_manager import CacheManager
from config import Settings, load_settings
from database import Database
from job_queue.queue import JobQueue
from stores.hot.store import HotStore
from workers.asking import Asker
from workers.configuration import Configuration
from workers.context import Context, ContextMaker
from workers.definition import WorkerDefinition
from workers.registry import Registry
from workers.streams.fleet import Pace
from workers.streams.handlers import stream_function
from workers.streams.reconciler import Reconciler

# As the real one, but that a lease ends after 3 s, and looks follow each other faster.
QUICK: Final = Pace(ttl_s=3.0, look_s=0.1, beat_s=0.1, alive_s=1.0, settle_s=0.1, wishes_s=0.1)


def definition(
    name: str, target: Callable[..., Any] | type, url: str | None = None, **options: Any
) -> WorkerDefinition:
    """A worker as `websocket` declares it; failures are retried at once."""
    egress, config = options.pop("egress", "any"), options.pop("config", None)
    quick = {"first_pause_s": 0.01, "longest_pause_s": 0.05} | options
    return WorkerDefinition(
        name=name, kind="websocket", function=stream_function(target), place="test.py:1", url=url,
        options=quick, egress=egress, config=config,
    )  # fmt: skip


async def publish_all(feed: Context) -> None:
    """A function that publishes each message as it came."""
    async for message in feed.messages():
        await feed.publish(message if isinstance(message, str) else list(message))


async def put_row(database_url: str, name: str, **columns: Any) -> None:
    """Writes the worker's row, as the sync of the code's workers and an operator do."""
    row: dict[str, Any] = {
        "kind": "websocket", "origin": "user", "tz": "UTC", "queue": "default", "egress": "any",
        "timeout_s": 300.0, "max_attempts": 3, "on_missed": "one", "enabled": True,
        "declared": json.dumps({}), "changed_at": 1, "changed_by": "test",
    } | columns  # fmt: skip
    names, values = [*row], [*row.values()]
    places = ", ".join(f"${place}" for place in range(2, len(names) + 2))
    updates = ", ".join(f"{column} = excluded.{column}" for column in names)
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute(
            f"INSERT INTO worker (name, {', '.join(names)}) VALUES ($1, {places})"  # noqa: S608
            f" ON CONFLICT (name) DO UPDATE SET {updates}",
            name, *values,
        )  # fmt: skip
    finally:
        await connection.close()


def maker(
    settings: Settings, store: HotStore, configuration: Configuration | None = None
) -> ContextMaker:
    asker = Asker(JobQueue(store), CacheManager(store), ())
    return ContextMaker(settings, store, asker, configuration)


@dataclass
class RunningHost:
    """A reconciler that runs in a task of the test."""

    reconciler: Reconciler
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def end(self) -> None:
        """As SIGTERM does."""
        self.stop.set()
        await self.task


@contextlib.asynccontextmanager
async def hosting(
    store: HotStore,
    database: Database,
    *definitions: WorkerDefinition,
    host: str = "a:1",
    settings: Settings | None = None,
    pace: Pace | None = QUICK,
    configuration: Configuration | None = None,
    **parts: Any,
) -> AsyncIterator[RunningHost]:
    settings = settings or load_settings(
        redis_url="redis://unused", database_url="postgresql://u@h/d"
    )
    reconciler = Reconciler(
        store, database, Registry({each.name: each for each in definitions}),
        maker(settings, store, configuration), settings=settings, host=host, pace=pace, **parts,
    )  # fmt: skip
    stop = asyncio.Event()
    running = RunningHost(reconciler, stop, asyncio.create_task(reconciler.run(stop)))
    try:
        yield running
    finally:
        await running.end()
