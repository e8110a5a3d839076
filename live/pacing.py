"""The paces of streams: requests on a connection, what a process shares, and wake-ups."""

import asyncio
import threading
from collections import deque
from functools import cache
from typing import Any, Final

from timing.clock import Clock

_HOUR_S: Final = 3600.0


class RequestPace:
    """The requests that one connection may send: so many a second, evenly, and so many an hour."""

    def __init__(self, a_second: float, an_hour: int | None) -> None:
        self._spacing_s = 1 / a_second
        self._an_hour = an_hour
        self._sent: deque[float] = deque(maxlen=an_hour if an_hour is not None else 1)

    def free_at_s(self, now: float) -> float:
        """When the next request may be sent (monotonic seconds); `now` if at once."""
        if not self._sent:
            return now
        free = self._sent[-1] + self._spacing_s
        if self._an_hour is not None and len(self._sent) == self._an_hour:
            free = max(free, self._sent[0] + _HOUR_S)
        return max(now, free)

    def take(self, now: float) -> None:
        """Counts a request that is sent now."""
        self._sent.append(now)


class SharedPace:
    """At most `quantity` of something in any `window_s`, over all threads that share this."""

    def __init__(self, quantity: int, window_s: float) -> None:
        self._window_s = window_s
        self._taken: deque[float] = deque(maxlen=quantity)
        self._lock = threading.Lock()

    def reserve(self, now: float) -> float:
        """Takes the next free place; the seconds to wait for it, from `now` (monotonic)."""
        with self._lock:
            full = len(self._taken) == self._taken.maxlen
            at = max(now, self._taken[0] + self._window_s) if full else now
            self._taken.append(at)
            return at - now


@cache
def pace_of_process(what: str, quantity: int, window_s: float) -> SharedPace:
    """The pace that all of this process shares for `what`, such as new connections to an exchange.

    An exchange counts what comes from an address, whoever makes it: a service's feed and
    collectors of a user's own stay within one limit together.
    """
    return SharedPace(quantity, window_s)


async def due_or_woken(clock: Clock, event: asyncio.Event, due_s: float | None) -> None:
    """Waits until `due_s` (monotonic; None: never), or less if the event is set, and clears it."""
    waits: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait())]
    if due_s is not None:
        delay_s = max(0.0, due_s - clock.monotonic_s())
        waits.append(asyncio.create_task(clock.sleep(delay_s)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    event.clear()
