"""Exponential backoff between retries, and a pause that a stop event ends early."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from timing.clock import Clock, SystemClock

_T = TypeVar("_T")


class Backoff:
    """The pauses between retries: `first_s`, then doubled each time, at most `slowest_s`."""

    def __init__(self, first_s: float, slowest_s: float) -> None:
        self._first_s = first_s
        self._slowest_s = slowest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """The seconds to wait before the next try; call it once per failed try."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._slowest_s)
        return pause_s

    def reset(self) -> None:
        """Starts again with `first_s`; call it after a success."""
        self._next_s = self._first_s


async def stop_or(stop: asyncio.Event, seconds: float, clock: Clock | None = None) -> bool:
    """Waits `seconds` by the clock, or less if `stop` is set meanwhile; returns whether it is."""
    return await stop_or_done(stop, (clock or SystemClock()).sleep(seconds))


async def stop_or_done(stop: asyncio.Event, wait: Coroutine[Any, Any, object]) -> bool:
    """Waits for the end of `wait`, which raises nothing, or for `stop`; returns whether it is set.
    `wait` is cancelled then."""
    stopped, waited = asyncio.create_task(stop.wait()), asyncio.create_task(wait)
    try:
        await asyncio.wait((stopped, waited), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        waited.cancel()
        await asyncio.gather(stopped, waited, return_exceptions=True)
    return stop.is_set()


async def within(seconds: float, wait: Coroutine[Any, Any, object]) -> None:
    """Waits for the end of `wait`, at most so long; it is cancelled then."""
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        pass


async def within_after(
    stop: asyncio.Event, seconds: float, work: Coroutine[Any, Any, _T]
) -> _T | None:
    """What `work` returns or raises. It has so long from when `stop` is set; then it is cancelled,
    and None is returned."""
    stopped, working = asyncio.create_task(stop.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait((stopped, working), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((working,), timeout=seconds)
        return working.result() if working.done() else None
    finally:
        stopped.cancel()
        working.cancel()
        await asyncio.gather(stopped, working, return_exceptions=True)
