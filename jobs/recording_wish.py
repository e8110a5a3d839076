"""RecordingWish: when this process wants the history recorded: after publishes, and after failures.

A failed recording is wished for again with growing pauses, whatever is published meanwhile.
"""

import asyncio
from typing import Final

from timing.backoff import Backoff
from timing.clock import Clock, SystemClock

_FIRST_RETRY_S: Final = 5.0
_SLOWEST_RETRY_S: Final = 60.0


class RecordingWish:
    """Set by what publishes and by the job `record`, read by jobs/due.py; all on one event loop."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._asked = asyncio.Event()
        self._backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        self._not_before = 0.0  # monotonic seconds
        self.store_id: str | None = None  # of the hot store, once it is known
        self.forgot_ms = 0  # when old entries of the journal were removed last
        self.kept_ms = 0  # when the record was compacted last

    def ask(self) -> None:
        """There may be something to record."""
        self._asked.set()

    def failed(self) -> None:
        """A recording has failed; it is wished for again when its pause is over."""
        self._not_before = self._clock.monotonic_s() + self._backoff.pause_s()
        self._asked.set()

    def done(self) -> None:
        """A recording has taken all that there was."""
        self._not_before = 0.0
        self._backoff.reset()

    def forget(self) -> None:
        """What was asked for is about to be recorded."""
        self._asked.clear()

    async def wait(self) -> None:
        """Returns when a recording is wished for."""
        await self._asked.wait()
        if (left_s := self._not_before - self._clock.monotonic_s()) > 0:
            await self._clock.sleep(left_s)
