"""The composition of a process: its parts built from Settings, closed in reverse order."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from api.parts import Parts
from cache_manager import CacheManager
from commands.embedded_stores import embedded_stores
from config import Settings
from database import Database
from job_queue.kinds import IDS_BY_LANE
from job_queue.local_wakeup import LocalWakeup
from job_queue.queue import JobQueue
from stores.hot.opening import open_hot_store

if TYPE_CHECKING:
    from jobs.context import JobContext


@contextlib.asynccontextmanager
async def open_parts(settings: Settings, role: str) -> AsyncIterator[Parts]:
    """The stores' clients and what stands on them; `role` names them at the server."""
    async with contextlib.AsyncExitStack() as opened:
        settings = await opened.enter_async_context(embedded_stores(settings))
        store = open_hot_store(settings, client_name=f"perpcache-{role}")
        opened.push_async_callback(store.aclose)
        queue_store = open_hot_store(settings, client_name=f"perpcache-{role}-queue")
        opened.push_async_callback(queue_store.aclose)
        database = _database(settings)
        opened.push_async_callback(database.aclose)
        queue = JobQueue(queue_store, wake_local=local_wakeup(settings).wake)
        opened.push_async_callback(queue.aclose)
        yield Parts(store, CacheManager(store), queue, database)


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The cold store alone."""
    async with embedded_stores(settings, hot=False) as found:
        database = _database(found)
        try:
            yield database
        finally:
            await database.aclose()


def _database(settings: Settings) -> Database:
    assert settings.database_url is not None  # noqa: S101 - embedded_stores saw to it
    return Database(settings.database_url.get_secret_value())


@contextlib.asynccontextmanager
async def open_job_context(settings: Settings, role: str) -> AsyncIterator["JobContext"]:
    """The parts that run jobs, with a client of the exchanges."""
    # Not at the top: the API is composed here too, and has no use for the numerics.
    from budgets.exchange_client import ExchangeClient
    from jobs.context import JobContext
    from metrics.worker import WorkerMetrics

    metrics = WorkerMetrics()
    metrics.watch_jobs(IDS_BY_LANE.items())
    async with (
        open_parts(settings, role) as parts,
        ExchangeClient(settings, store=parts.store, metrics=metrics.exchange) as client,
    ):
        yield JobContext(
            settings, parts.store, parts.cache, parts.queue, parts.database, client, metrics
        )


def local_wakeup(settings: Settings) -> LocalWakeup:
    """Where the API wakes the workers of this host: those with the same DATA_DIR."""
    return LocalWakeup(settings.data_dir / "bells")


def holder_name() -> str:
    """Who we are to others who wait for a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"
