"""A host of workers in a process of its own, for tests that kill it, freeze it and wake it.

Its workers do what the run's input says, and write what they did into the table `effects`.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from typing import Any

from api.parts import Parts
from cache_manager import CacheManager
from commands import runtime
from commands.workers_part import make_host
from config import Settings, load_settings
from database import Database
from job_queue.queue import JobQueue
from logging_setup import configure_logging
from stores.hot.opening import open_hot_store
from workers.definition import WorkerDefinition

EFFECTS = """
CREATE TABLE IF NOT EXISTS effects (
    at bigint DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    worker text, run bigint, attempt integer, pid integer, what text
)
"""
_NOTE = "INSERT INTO effects (worker, run, attempt, pid, what) VALUES ($1, $2, $3, $4, $5)"


class Workers:
    """The workers of this program."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def definitions(self) -> list[WorkerDefinition]:
        two_seconds = {"every_s": 2}
        return [
            self._one("slow", self.slow),
            self._one("slow_once", self.slow, max_attempts=1),
            self._one("killer", self.killer),
            self._one("leaves", self.leaves),
            self._one("stubborn", self.stubborn, timeout_s=0.2, max_attempts=1),
            self._one("raises_twice", self.raises_twice),
            self._one("short", self.short),
            self._one("in_thread", self.in_thread),
            self._one("too_long", self.slow, timeout_s=0.2, max_attempts=1),
            self._one("each_two_s", self.short, **two_seconds, enabled=False),
            *(
                [self._one("of_some_hosts", self.short)]
                if "some" in os.environ.get("WORKER_QUEUES", "")
                else []
            ),
        ]

    def _one(self, name: str, function: Any, **given: Any) -> WorkerDefinition:
        return WorkerDefinition(
            name=name, kind="schedule", function=function, place="here:1", **given
        )

    async def note(self, job: Any, what: str) -> None:
        """Notes without looking whose the run is."""
        words = (job.name, job.run, job.attempt, os.getpid(), what)
        await self._database.pool.write(lambda found: found.execute(_NOTE, *words))

    async def note_if_ours(self, job: Any, what: str) -> None:
        words = (job.name, job.run, job.attempt, os.getpid(), what)

        async def write(connection: Any) -> None:
            async with connection.transaction():
                await job._handle.check(connection)
                await connection.execute(_NOTE, *words)

        await self._database.pool.write(write)

    async def slow(self, job: Any) -> dict[str, int]:
        await self.note(job, "began")
        await asyncio.sleep((job.input or {}).get("s", 3600))
        await self.note_if_ours(job, "wrote")
        return {"attempt": job.attempt}

    async def killer(self, job: Any) -> None:
        await self.note(job, "began")
        os.kill(os.getpid(), signal.SIGKILL)

    async def leaves(self, job: Any) -> None:
        if job.attempt == 1:
            raise KeyboardInterrupt
        sys.exit(3)

    async def stubborn(self, job: Any) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def raises_twice(self, job: Any) -> str:
        await self.note(job, "began")
        if job.attempt < 3:
            raise ValueError(f"not in attempt {job.attempt}")
        return "done"

    async def short(self, job: Any) -> int:
        await self.note(job, "done")
        return int(job.attempt)

    def in_thread(self, job: Any) -> str:
        job.wait(self.note(job, threading.current_thread().name))
        while not job.stop.is_set():
            time.sleep(0.01)
        return "stopped"


async def main(settings: Settings, stop: asyncio.Event, _: argparse.Namespace) -> int:
    configure_logging("INFO", "console")
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value())
    store = open_hot_store(settings, client_name="host")
    queue = JobQueue(store)
    parts = Parts(store, CacheManager(store), queue, database)
    host = make_host(settings, parts, Workers(database).definitions())
    print("begun", flush=True)  # noqa: T201 - for the test
    await host.run(stop)
    await queue.aclose()
    await store.aclose()
    await database.aclose()
    return 0


def run(_: list[str]) -> int:
    return runtime.run(main, load_settings(), argparse.Namespace(parent_fd=None))
