"""The four parts that every process of the service is made of."""

from dataclasses import dataclass

from cache_manager import CacheManager
from database import Database
from job_queue.queue import JobQueue
from stores.hot.store import HotStore


@dataclass(frozen=True, slots=True)
class Parts:
    """The stores and what stands on them; opened and closed by whoever composes the process."""

    store: HotStore
    cache: CacheManager
    queue: JobQueue
    database: Database
