"""The parts of every process: hot store, published documents, job queue and database."""

from dataclasses import dataclass

from cache_manager import CacheManager
from database import Database
from job_queue.queue import JobQueue
from stores.hot.store import HotStore


@dataclass(frozen=True, slots=True)
class Parts:
    """The stores and their users; commands/composition.py opens and closes them."""

    store: HotStore
    cache: CacheManager
    queue: JobQueue
    database: Database
