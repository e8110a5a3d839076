"""Operations: starts, stops and restarts of one collector, one after another, whoever asks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Operations:
    """One operation at a time. Each is a task of its own: it ends as it should even if the task
    that asked for it is one that it ends, such as a callback that stops its collector."""

    def __init__(self) -> None:
        self._task: asyncio.Task[bool] | None = None
        self._may_be_aborted = False

    async def wait(self) -> None:
        """Waits until no operation is going on."""
        while (going_on := self._going_on()) is not None:
            await asyncio.wait({going_on})

    def busy(self) -> bool:
        """Whether an operation is going on."""
        return self._going_on() is not None

    def abort(self) -> None:
        """Cancels the operation that is going on, if it may be aborted."""
        if self._may_be_aborted and (going_on := self._going_on()) is not None:
            going_on.cancel()

    async def run(
        self,
        work: Coroutine[Any, Any, bool],
        name: str,
        *,
        abortable: bool = True,
        undo: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> bool:
        """The result of the work, begun when earlier operations have ended; False if it was
        aborted. With `undo` it is cancelled with the task that waits for it, or undone if it
        has just ended."""
        try:
            await self.wait()
        except BaseException:
            work.close()
            raise
        task = self._task = asyncio.create_task(work, name=name)
        self._may_be_aborted = abortable
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if undo is not None:
                task.cancel()
                await asyncio.wait({task})
                if not task.cancelled() and task.exception() is None:
                    await undo()
            raise
        return not task.cancelled() and task.result()

    def _going_on(self) -> asyncio.Task[bool] | None:
        task = self._task
        # A task of an event loop that was closed will never be done.
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return None
        return task
