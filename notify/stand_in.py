"""StandIn: which process tells that the hot store is away if the one that watched is gone, too."""

from typing import Final, Protocol

from timing.clock import Clock

# The process that watched has known of it for longer than that, and holds the lock if it lives.
AFTER_S: Final = 60.0
_TRIES_EVERY_S: Final = 30.0  # each try of those that do not get it is a connection


class Lock(Protocol):
    """A lock elsewhere than in the hot store, which ends with the process that holds it."""

    async def take(self) -> bool:
        """Takes it if it is free; returns whether this process holds it."""

    async def release(self) -> None: ...


class StandIn:
    """Who watched last takes the lock while the hot store is away. Another that gets it after a
    minute knows that nobody is left to tell, and does so. Without a lock nobody stands in."""

    def __init__(self, lock: Lock | None, clock: Clock) -> None:
        self._lock = lock
        self._clock = clock
        self._not_before_s: float | None = None  # None: the store is not away

    async def is_called(self) -> bool:
        """Asked again and again while the store is away, by a process that did not watch."""
        now_s = self._clock.monotonic_s()
        if self._not_before_s is None:
            self._not_before_s = now_s + AFTER_S
        if self._lock is None or now_s < self._not_before_s:
            return False
        if await self._lock.take():
            return True
        self._not_before_s = now_s + _TRIES_EVERY_S
        await self._lock.release()
        return False

    async def keep_others_away(self) -> None:
        """While the store is away, by the process that tells it."""
        if self._lock is not None:
            await self._lock.take()

    async def store_is_back(self) -> None:
        """Or this process ends."""
        self._not_before_s = None
        if self._lock is not None:
            await self._lock.release()
