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
    from workers.parts import PartRuns


@contextlib.asynccontextmanager
async def open_parts(settings: Settings, role: str) -> AsyncIterator[Parts]:
    """Opens the stores' clients and the parts built on them; Redis sees `role` in their names."""
    async with contextlib.AsyncExitStack() as opened:
        settings = await opened.enter_async_context(embedded_stores(settings))
        store = open_hot_store(settings, client_name=f"perpcache-{role}")
        opened.push_async_callback(store.aclose)
        queue_store = open_hot_store(settings, client_name=f"perpcache-{role}-queue")
        opened.push_async_callback(queue_store.aclose)
        database = _database(settings)
        opened.push_async_callback(database.aclose)
        queue = JobQueue(
            queue_store,
            wake_local=local_wakeup(settings).wake,
            min_refresh_s=settings.min_refresh_s,
        )
        opened.push_async_callback(queue.aclose)
        cache = CacheManager(store, journal_bytes=settings.journal_bytes)
        yield Parts(store, cache, queue, database)


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Opens the cold store alone."""
    async with embedded_stores(settings, hot=False) as found:
        database = _database(found)
        try:
            yield database
        finally:
            await database.aclose()


def _database(settings: Settings) -> Database:
    assert settings.database_url is not None  # noqa: S101 - embedded_stores sets it
    replica = settings.history_database_url
    return Database(
        settings.database_url.get_secret_value(),
        history_dsn=None if replica is None else replica.get_secret_value(),
    )


@contextlib.asynccontextmanager
async def open_job_context(
    settings: Settings, role: str, *, keep_mb: int = 0
) -> AsyncIterator["JobContext"]:
    """Opens the parts that jobs need, with a client of the exchanges.

    A process that runs more than one job keeps `keep_mb` of its documents for the next ones.
    """
    # Imported here, because the API uses this module too and must not load the numeric packages.
    from budgets.exchange_client import ExchangeClient
    from commands.facade_part import keeping_answers
    from commands.notify_part import heartbeating
    from documents.kept import KeptDocuments
    from jobs.context import JobContext
    from jobs.endings import Endings
    from jobs.live_rows import LiveRows
    from metrics.worker import WorkerMetrics

    fed = settings.live_exchanges
    metrics = WorkerMetrics()
    metrics.watch_jobs(IDS_BY_LANE.items())
    metrics.watch_streams(fed)
    metrics.watch_history(settings.exchanges)
    async with (
        open_parts(settings, role) as parts,
        keeping_answers(settings, parts.store) as heard,
        ExchangeClient(
            settings, store=parts.store, metrics=metrics.exchange, heard=heard
        ) as client,
        # A worker must end at once; a command of one job must not end before that is told.
        heartbeating(settings, last_s=0.5 if role == "worker" else 5.0) as heartbeat,
    ):
        live = LiveRows(
            *(parts.store, fed, client.clock),
            on_compared=metrics.stream_compared,
            on_differing=metrics.stream_differs,
            trade_columns=settings.trade_columns,
        )
        yield JobContext(
            settings,
            parts.store,
            parts.cache,
            parts.queue,
            parts.database,
            client,
            KeptDocuments(keep_mb),
            metrics,
            live=live if fed else None,
            parts=_parts_of_others(settings, parts.database),
            endings=Endings(parts.database, holder_name(), on_dropped=metrics.ending_dropped),
            heartbeat=heartbeat,
        )


def _parts_of_others(settings: Settings, database: Database) -> "PartRuns | None":
    """What has other hosts do parts of jobs; None where schedules are off."""
    if settings.schedules == "off":
        return None
    from workers.lazy_engine import LazyEngine
    from workers.parts import Parts as PartsOfOthers

    engine = LazyEngine(database, settings.pgqueuer_schema)
    return PartsOfOthers(database, enqueue=engine.enqueue, cancel=engine.cancel)


def local_wakeup(settings: Settings) -> LocalWakeup:
    """The wakeup channel between the API and the workers of this host with the same DATA_DIR and
    REDIS_PREFIX."""
    return LocalWakeup(settings.data_dir / f"bells{settings.redis_prefix}")


def holder_name() -> str:
    """The name under which this process holds leases: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"
