"""Engine: PgQueuer, which carries runs to hosts; the only module that knows it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from database import Database
from stores.cold.pool import Connection
from workers.seam import Runner


class Engine:
    """The engine in the schema `schema` of `database`. Connects to nothing before it is asked to.
    `enqueue` and `cancel` work in any process; `run` in those that run workers."""

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema

    async def install(self) -> None:
        """Makes or upgrades the engine's tables under its lock. Raises DatabaseUnavailable."""
        raise NotImplementedError

    async def enqueue(
        self, connection: Connection, run_id: int, queue: str, not_before_ms: int | None = None
    ) -> int:
        """As seam.Enqueue."""
        raise NotImplementedError

    async def cancel(self, connection: Connection, job_ids: Sequence[int]) -> None:
        """As seam.Cancel."""
        raise NotImplementedError

    def limit(self, queues: Mapping[str, "QueueRule"]) -> None:
        """Takes what rows say of queues from now on: see QueueRule."""
        raise NotImplementedError

    async def run(self, stop: asyncio.Event, queues: Sequence[str], runner: Runner) -> None:
        """Takes the runs of `queues` until `stop`, whatever happens to PostgreSQL meanwhile."""
        raise NotImplementedError


class QueueRule:
    """What holds for a queue over all hosts: `concurrency` runs at once (None: no limit), none
    before `paused_until_ms` (UTC ms)."""

    concurrency: int | None
    paused_until_ms: int | None


@contextlib.asynccontextmanager
async def open_console(database: Database, schema: str) -> AsyncIterator[Any]:
    """PgQueuer's console as an ASGI application: nothing guards it. It connects when first asked;
    its requests raise DatabaseUnavailable."""
    yield None
