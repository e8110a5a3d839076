"""Silence: whether the streams of an exchange are silent, by how many events came so far."""

from typing import Final

from timing.clock import Clock

# No event of any market for so long is silence; for longer where that is no time for so many
# events, as they came so far. Lines that are silent for LONGEST_S are replaced soon after.
SHORTEST_S: Final = 3.0
EVENTS: Final = 20
LONGEST_S: Final = 15.0


class Silence:
    """Asked again and again, with the number of events since the feed began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events, self._heard_s = 0, clock.monotonic_s()
        self._began_s = self._heard_s

    def lasts(self, events: int) -> bool:
        now_s = self._clock.monotonic_s()
        if events != self._events:
            self._events, self._heard_s = events, now_s
        longest_s = LONGEST_S
        if events:  # few and quiet markets have pauses
            each_s = (self._heard_s - self._began_s) / events
            longest_s = min(max(SHORTEST_S, EVENTS * each_s), LONGEST_S)
        return now_s - self._heard_s >= longest_s
