"""A worker in a process of its own, told line by line what to do, for tests that kill, stop and
continue it. Each answer is one line: the outcome, or the name of the error that was raised."""

import asyncio
import random
import sys
from collections.abc import Sequence

from cache_manager import CacheManager, StaleVersion
from config import load_settings
from job_queue.queue import JobAborted, JobQueue
from job_queue.records import JobRecord
from logging_setup import configure_logging
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.store import StoreUnavailable


class RemoteWorker:
    def __init__(self) -> None:
        self.store = open_hot_store(load_settings(), client_name="remote")
        self.queue = JobQueue(self.store)
        # Small pieces make a publish last long enough to be interrupted.
        self.cache = CacheManager(self.store, piece_bytes=4_000)
        self.lease: Lease | None = None
        self.job: JobRecord | None = None

    async def do(self, order: Sequence[str]) -> str:
        match order:
            case ["acquire", ttl_s]:
                self.lease = await try_acquire(
                    self.store, "worker", holder="remote", ttl_s=float(ttl_s)
                )
                return str(self.lease.token) if self.lease else "held"
            case ["take"]:
                assert self.lease
                self.job = await self.queue.take(self.lease)
                return self.job.id if self.job else "none"
            case ["progress"]:
                assert self.lease and self.job
                await self.queue.progress(self.job, self.lease, phase="fetch", done=1, total=2)
                return "ok"
            case ["finish"]:
                assert self.lease and self.job
                await self.queue.finish(
                    self.job, self.lease, state="complete", as_of_ms=1, result={}, error=None
                )
                return "ok"
            case ["publish", version, size]:
                assert self.lease
                await self.cache.save_to_cache(
                    "4h",
                    random.Random(0).randbytes(int(size)),  # noqa: S311 - it does not shrink
                    version=int(version),
                    as_of_ms=1,
                    updated_at_ms=1,
                    lease=self.lease,
                )
                return "ok"
            case ["held"]:
                assert self.lease
                return str(self.lease.held)
            case _:
                return f"what is {order}?"


async def main() -> None:
    configure_logging("ERROR", "json")  # to stderr: stdout is for answers
    worker = RemoteWorker()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        try:
            answer = await worker.do(line.decode().split())
        except (LeaseLost, JobAborted, StaleVersion, StoreUnavailable) as error:
            answer = type(error).__name__
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
