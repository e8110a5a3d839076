"""WorkerHost: what a process does for workers: installs, syncs, then ticks, takes, reconciles."""

import asyncio
from typing import Any

from config import Settings
from database import Database
from job_queue.queue import JobQueue
from stores.hot.store import HotStore


class WorkerHost:
    """The parts of one process; `runs` False: it only ticks (`beat`); `ticks` False: it only runs
    (`worker --no-beat`)."""

    def __init__(
        self,
        settings: Settings,
        registry: Any,
        *,
        store: HotStore,
        queue: JobQueue,
        database: Database,
        host: str,
        runs: bool = True,
        ticks: bool = True,
    ) -> None:
        raise NotImplementedError

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`. Failures of stores, and of workers, are never raised."""
        raise NotImplementedError
