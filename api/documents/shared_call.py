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
        """To be made where an event loop runs."""
        self._call = call
        self._create_future = asyncio.get_running_loop().create_future
        # Who waits for a call that has not begun. A future each: who leaves ends no other's.
        self._next: list[asyncio.Future[T]] = []
        self._calling: asyncio.Task[None] | None = None

    def __call__(self) -> "asyncio.Future[T]":
        """To be awaited by whoever asks, and by nobody else."""
        waiter: asyncio.Future[T] = self._create_future()
        self._next.append(waiter)
        if self._calling is None:
            self._calling = asyncio.create_task(self._call_while_asked())
        return waiter

    async def _call_while_asked(self) -> None:
        waiting: list[asyncio.Future[T]] = []
        try:
            while self._next:
                waiting, self._next = self._next, []
                try:
                    result = await self._call()
                except StoreUnavailable as error:
                    # A store that just failed to answer is not asked again for those who wait.
                    waiting, self._next = waiting + self._next, []
                    _tell_error(waiting, error)
                except Exception as error:
                    _tell_error(waiting, error)
                else:
                    for waiter in waiting:
                        if not waiter.done():
                            waiter.set_result(result)
        except asyncio.CancelledError:
            _tell_error(waiting + self._next, StoreUnavailable("the service is stopping"))
            raise
        finally:
            self._calling = None

    async def aclose(self) -> None:
        """Ends the call under way: who waits for it gets StoreUnavailable."""
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.gather(self._calling, return_exceptions=True)


def _tell_error(waiting: list[asyncio.Future[T]], error: Exception) -> None:
    for waiter in waiting:
        if not waiter.done():
            waiter.set_exception(error)


def retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """A done-callback for tasks that may never be awaited: it keeps asyncio from warning."""
    if not task.cancelled():
        task.exception()
