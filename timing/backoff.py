"""Growing pauses between tries, and pauses that a stop ends early."""

import asyncio


class Backoff:
    """The pauses between tries: `first_s`, then twice the one before, `slowest_s` at most."""

    def __init__(self, first_s: float, slowest_s: float) -> None:
        self._first_s = first_s
        self._slowest_s = slowest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """How long to wait before the next try; each call counts as one failed try."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, self._slowest_s)
        return pause_s

    def reset(self) -> None:
        """Call it after a success: the next pause is the first one again."""
        self._next_s = self._first_s


async def stop_or(stop: asyncio.Event, seconds: float) -> bool:
    """Waits `seconds`, or less if `stop` is set meanwhile; returns whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
    return stop.is_set()
