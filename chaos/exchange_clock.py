"""The exchanges' time during a run: what they showed when, and the time that the run passes over.

It stands still between moves, or it flows as real time does. Where it flows, the dull middle of
each candle is passed over: for the exchanges, and for the clock of the service's processes that
counts the time in which a machine sleeps. Every other clock is real, so all deadlines and limits
are.
"""

import mmap
import struct
import time
from pathlib import Path
from typing import Final

# An answer that came before a move may be counted on from after it.
_LATE_MS: Final = 5_000


class ExchangeClock:
    """`instants`: (exchange time in ms, wall clock in s when it was set), ascending."""

    def __init__(self, start_ms: int, *, flows: bool) -> None:
        self.flows = flows
        self.instants: list[tuple[int, float]] = [(start_ms, time.time())]

    def set(self, now_ms: int) -> None:
        """The exchanges show this time now."""
        self.instants.append((now_ms, time.time()))

    def at(self, wall_s: float) -> int:
        """What they showed at a time of the wall clock."""
        set_ms, set_s = next(
            (each for each in reversed(self.instants) if each[1] <= wall_s), self.instants[0]
        )
        return set_ms + max(0, round((wall_s - set_s) * 1000)) if self.flows else set_ms

    def now_ms(self) -> int:
        return self.at(time.time())

    def was_shown(self, time_ms: int, until_s: float) -> bool:
        """Whether they showed this time until then, or, where it flows, nearly."""
        shown = [each for each in self.instants if each[1] <= until_s]
        if not self.flows:
            return any(set_ms == time_ms for set_ms, _ in shown)
        ends_s = [*(at_s for _, at_s in shown[1:]), until_s]
        return any(
            set_ms <= time_ms <= set_ms + (end_s - at_s) * 1000 + _LATE_MS
            for (set_ms, at_s), end_s in zip(shown, ends_s, strict=True)
        )

    def moments(self, from_ms: int, until_s: float) -> list[int]:
        """The times from `from_ms` on that they showed until then; of flowing time both ends."""
        if self.flows:
            return [from_ms, max(from_ms, self.at(until_s))]
        return [ms for ms, at_s in self.instants if at_s <= until_s and ms >= from_ms]

    def shown_s(self, time_ms: int) -> float:
        """When they first showed this time, by the wall clock; 0 if they did not."""
        if not self.flows:
            return next((at_s for ms, at_s in self.instants if ms == time_ms), 0.0)
        before = [each for each in self.instants if each[0] <= time_ms]
        return before[-1][1] + (time_ms - before[-1][0]) / 1000 if before else 0.0


class PassedOver:
    """The seconds that were passed over, in a file that the processes of the run map."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as shared:
            self._shared = mmap.mmap(shared.fileno(), 8)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self._shared[:8] = struct.pack("d", self.seconds)
