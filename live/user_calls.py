"""Calls of users' code: each has a deadline, and what ignores its end is set aside and counted."""

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

# A cancelled task has so long to clean up. The event loop cannot end one that goes on.
CANCEL_S: Final = 3.0
# So many that go on, and no other is begun: each holds memory, and perhaps a connection.
MOST_SET_ASIDE: Final = 10


class UserCalls:
    """Calls functions that others wrote, plain or async, so that none holds the caller up.

    `set_aside` holds the tasks that were cancelled and went on; they leave it when they end.
    """

    def __init__(self, cancel_s: float = CANCEL_S) -> None:
        self._cancel_s = cancel_s
        self.set_aside: set[asyncio.Task[Any]] = set()

    async def call(
        self, what: str, function: Callable[..., Any], *arguments: Any, within_s: float
    ) -> Any:
        """The function's result; it is awaited if it can be.

        Raises TimeoutError after `within_s` and ConnectionError if it was cancelled by others or
        too many earlier calls go on, both naming `what`; and what the function raises.
        """
        if len(self.set_aside) >= MOST_SET_ASIDE:
            raise ConnectionError(
                f"{what} is not called: {len(self.set_aside)} earlier calls ignored their end"
            )
        result = function(*arguments)
        if not inspect.isawaitable(result):
            return result
        task = asyncio.ensure_future(_awaited(result))
        try:
            await asyncio.wait({task}, timeout=within_s)
        finally:
            await self.end({task})
        if task.cancelled() or task in self.set_aside:
            if task.cancelling():
                raise TimeoutError(f"{what} took more than {within_s:g} s")
            raise ConnectionError(f"{what} was cancelled")
        return task.result()

    async def end(self, tasks: Iterable[asyncio.Task[Any]], within_s: float | None = None) -> None:
        """Cancels the tasks and waits until they have ended, or sets them aside."""
        current = asyncio.current_task()
        going_on = {task for task in tasks if not task.done()} - {current}
        if not going_on:
            return
        for task in going_on:
            task.cancel()
        try:
            await asyncio.wait(going_on, timeout=within_s or self._cancel_s)
        finally:
            for task in going_on:
                if not task.done():
                    self.set_aside.add(task)
                    task.add_done_callback(self._ended_after_all)

    def cancel_again(self) -> None:
        """Cancels once more what was set aside, and forgets what an ended event loop left."""
        here = asyncio.get_running_loop()
        self.set_aside = {task for task in self.set_aside if task.get_loop() is here}
        for task in self.set_aside:
            task.cancel()

    def _ended_after_all(self, task: asyncio.Task[Any]) -> None:
        self.set_aside.discard(task)
        if not task.cancelled():
            task.exception()  # asked for, so that asyncio does not log it


async def _awaited(result: Any) -> Any:
    return await result
