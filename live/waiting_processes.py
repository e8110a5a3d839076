"""WaitingProcesses: whether a process waits for the lease of an exchange's feed.

`live:<exchange>:waiting` is the name of the last one that said so; it expires within a minute.
"""

from typing import Final

from live.feed_state import feed_name
from stores.hot.store import HotStore, StoreUnavailable
from timing.clock import Clock

_TOLD_EVERY_S: Final = 20.0
_TTL_S: Final = 60


class WaitingProcesses:
    """What `holder`, one of them, tells and reads."""

    def __init__(self, store: HotStore, exchange: str, holder: str, clock: Clock) -> None:
        self._store, self._clock, self._holder = store, clock, holder
        self._key = f"{feed_name(exchange)}:waiting"
        self._due_s = 0.0

    async def tell(self) -> None:
        """Says that this process waits, at most every 20 s. Raises StoreUnavailable."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._due_s:
            await self._store.execute("SET", self._key, self._holder, "EX", _TTL_S)
            self._due_s = now_s + _TOLD_EVERY_S

    async def others(self) -> bool:
        """Whether another process waits; False if it is not known."""
        try:
            value = await self._store.execute("GET", self._key)
        except StoreUnavailable:
            return False
        return value is not None and value != self._holder.encode()
