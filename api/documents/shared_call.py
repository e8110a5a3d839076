"""One store call shared by concurrent requests, each answered by a call begun after it came."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from stores.hot.store import StoreUnavailable

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Makes one call at a time; each caller gets the result of a call begun after its own.

    Callers during a call wait for the next one, which they share: the result of the running call
    could be older than what they have seen.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        """Needs a running event loop."""
        self._call = call
        self._create_future = asyncio.get_running_loop().create_future
        # Waiters for the next call. Each has a future of its own, which it may cancel.
        self._next: list[asyncio.Future[T]] = []
        self._calling: asyncio.Task[None] | None = None

    def __call__(self) -> "asyncio.Future[T]":
        """The future result, to be awaited by this caller only."""
        waiter: asyncio.Future[T] = self._create_future()
        self._next.append(waiter)
        if self._calling is None:
            self._calling = asyncio.create_task(self._call_for_waiters())
        return waiter

    async def _call_for_waiters(self) -> None:
        waiting: list[asyncio.Future[T]] = []
        try:
            while self._next:
                waiting, self._next = self._next, []
                try:
                    result = await self._call()
                except StoreUnavailable as error:
                    # Waiters for the next call fail, too, instead of asking a store that is away.
                    waiting, self._next = waiting + self._next, []
                    _set_exception(waiting, error)
                except Exception as error:
                    _set_exception(waiting, error)
                else:
                    for waiter in waiting:
                        if not waiter.done():
                            waiter.set_result(result)
        except asyncio.CancelledError:
            _set_exception(waiting + self._next, StoreUnavailable("the service is stopping"))
            raise
        finally:
            self._calling = None

    async def aclose(self) -> None:
        """Ends the running call; its waiters get StoreUnavailable."""
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.gather(self._calling, return_exceptions=True)


def _set_exception(waiting: list[asyncio.Future[T]], error: Exception) -> None:
    for waiter in waiting:
        if not waiter.done():
            waiter.set_exception(error)


def retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """A done-callback that keeps asyncio from warning of a task that nobody awaited."""
    if not task.cancelled():
        task.exception()
