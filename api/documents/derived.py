"""LRU cache of values computed from documents (text, slices, codings), limited in bytes."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from api.documents.shared_call import retrieve_exception

_THREADS: Final = 2
_ENTRY_BYTES: Final = 1000  # of a value's key and its place in the cache

T = TypeVar("T")


class DerivedBodies:
    """Values computed from documents, by (name, version, ...), up to a budget in bytes.

    The least recently used values are evicted first; the newest one stays even if it alone exceeds
    the budget. Concurrent requests for a key share one computation.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._bytes = 0
        self._values: OrderedDict[tuple[Hashable, ...], tuple[Any, int]] = OrderedDict()
        self._computing: dict[tuple[Hashable, ...], asyncio.Task[Any]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="documents")
        # One for each thread: computations that wait hold nothing but their document.
        self.turns = asyncio.Semaphore(_THREADS)

    def cached(self, key: tuple[Hashable, ...]) -> Any | None:
        """The value at `key`, or None if it is not cached."""
        entry = self._values.get(key)
        if entry is None:
            return None
        self._values.move_to_end(key)
        return entry[0]

    async def get(
        self, key: tuple[Hashable, ...], make: Callable[[], Awaitable[tuple[T, int]]]
    ) -> T:
        """The value at `key`; `make` returns it with its size in bytes."""
        value: T | None = self.cached(key)
        if value is not None:
            return value
        task = self._computing.get(key)
        if task is None:
            task = self._computing[key] = asyncio.create_task(self._compute(key, make))
            task.add_done_callback(retrieve_exception)
        return await asyncio.shield(task)

    async def _compute(
        self, key: tuple[Hashable, ...], make: Callable[[], Awaitable[tuple[T, int]]]
    ) -> T:
        try:
            value, size = await make()
            self._store(key, value, size)
            return value
        finally:
            del self._computing[key]

    def _store(self, key: tuple[Hashable, ...], value: object, size: int) -> None:
        size += _ENTRY_BYTES
        self._values[key] = (value, size)
        self._bytes += size
        while self._bytes > self._budget_bytes and len(self._values) > 1:
            _, (_, freed) = self._values.popitem(last=False)
            self._bytes -= freed

    def drop(self, name: str) -> None:
        """Drops all values computed from this document."""
        for key in [key for key in self._values if key[0] == name]:
            self._bytes -= self._values.pop(key)[1]

    def forget(self, key: tuple[Hashable, ...]) -> None:
        """Drops the value at `key`, if there is one."""
        if key in self._values:
            self._bytes -= self._values.pop(key)[1]

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs CPU work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def aclose(self) -> None:
        for task in list(self._computing.values()):
            task.cancel()
        await asyncio.gather(*self._computing.values(), return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
