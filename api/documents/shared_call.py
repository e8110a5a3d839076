"""One call to a store for all who ask at the same time, begun no earlier than they asked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from stores.hot.store import StoreUnavailable

T = TypeVar("T")


class SharedCall(Generic[T]):
    """One call at a time for all who ask; each gets an answer to a call begun after asking.

    Who asks while a call is under way waits for the next one, which all of them share: an
    answer that was on its way when they asked could be older than what they have seen.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        return await asyncio.shield(self.join())

    def join(self) -> "asyncio.Task[T]":
        """The call that answers a caller of now. Others await it, too: shield it."""
        if self._next is not None:
            task = self._next  # its call has not begun
        elif self._running is None or self._running.done():
            task = self._running = self._start(None)
        else:
            task = self._next = self._start(self._running)
        return task

    def _start(self, after: "asyncio.Task[T] | None") -> "asyncio.Task[T]":
        task = asyncio.create_task(self._run(after))
        task.add_done_callback(retrieve_exception)
        return task

    async def _run(self, after: "asyncio.Task[T] | None") -> T:
        if after is not None:
            await asyncio.wait({after})
            self._running, self._next = self._next, None
            # A store that just failed to answer is not asked again for those who waited.
            if not after.cancelled() and isinstance(after.exception(), StoreUnavailable):
                return after.result()
        return await self._call()

    async def aclose(self) -> None:
        tasks = [task for task in (self._running, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """A done-callback for tasks that may never be awaited: it keeps asyncio from warning."""
    if not task.cancelled():
        task.exception()
