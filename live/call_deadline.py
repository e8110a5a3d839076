"""CallDeadline: a deadline for the calls that one task makes, with one timer for many calls."""

import asyncio
from typing import Any


class CallDeadline:
    """Cancels its task when a call has gone on for too long. A timer for every call would cost more
    than most calls; this one looks once in `within_s` seconds, and at the moment that is due."""

    def __init__(self, task: "asyncio.Task[Any]", within_s: float) -> None:
        self._task = task
        self._within_s = within_s
        self._loop = task.get_loop()
        self._ends_at: float | None = None  # None: no call is going on
        self._timer: asyncio.TimerHandle | None = None
        self._passed = False

    def begin(self) -> None:
        """A call begins."""
        self._ends_at = self._loop.time() + self._within_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._ends_at, self._look)

    def end(self) -> bool:
        """The call has ended; whether it was cancelled because it took too long."""
        self._ends_at = None
        passed, self._passed = self._passed, False
        if passed:
            self._task.uncancel()
        return passed

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._ends_at is None or self._passed:
            return
        if self._loop.time() >= self._ends_at:
            self._passed = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(self._ends_at, self._look)
