"""The pace that a network in front of an exchange bears, found by trying. No I/O, no clock.

Content networks state no limit, and no exchange tells what other programs at our address use of one
that it counts by endpoint. A refusal halves the pace, which then rises again by a constant
amount each second: additive increase, multiplicative decrease, as in TCP's congestion avoidance
(RFC 5681). Each process has a pace of its own, as only one of them collects at a time.
"""

from collections import deque
from typing import Final

MEASURED_S: Final = 1.0  # over which the pace is measured that is refused first
SLOWEST_PER_S: Final = 1.0
HOLD_S: Final = 1.0  # without requests after a refusal: networks count per second
RECOVERY_S: Final = 15.0  # from half of the refused pace back to it
CALM_S: Final = 60.0  # without a refusal the pace is free again


class Pace:
    """Requests per second to one exchange, or within one of its limits; unlimited until one is
    refused as too fast. `hold_s`: without requests after a refusal."""

    def __init__(self, hold_s: float = HOLD_S) -> None:
        self._hold_s = hold_s
        self._sent: deque[float] = deque()  # the times of the last second's requests
        self._half_per_s: float | None = None  # None: unlimited
        self._slowed_at = 0.0
        self._refused_at = 0.0
        self._next_at = 0.0

    def per_s(self, now: float) -> float | None:
        """The pace at `now`; None: unlimited."""
        if self._half_per_s is None:
            return None
        rising_s = max(0.0, now - self._slowed_at - self._hold_s)
        return self._half_per_s * (1 + rising_s / RECOVERY_S)

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        if self._half_per_s is not None and now - self._refused_at > CALM_S:
            self._half_per_s = None
        return max(0.0, self._next_at - now) if self._half_per_s is not None else 0.0

    def take(self, now: float) -> None:
        """Counts a request that is sent at `now`."""
        self._sent.append(now)
        while self._sent[0] <= now - MEASURED_S:
            self._sent.popleft()
        if (per_s := self.per_s(now)) is not None:
            self._next_at = max(self._next_at, now) + 1 / per_s

    def refused(self, now: float, sent_at: float) -> bool:
        """Slows down for a refusal of a request sent at `sent_at`; False if it was sent before
        the last slowing down, whose cause it shares."""
        self._refused_at = now
        if self._half_per_s is not None and sent_at <= self._slowed_at:
            return False
        per_s = self.per_s(now)
        if per_s is None:
            per_s = sum(at > now - MEASURED_S for at in self._sent) / MEASURED_S
        self._half_per_s = max(SLOWEST_PER_S, per_s / 2)
        self._slowed_at = now
        self._next_at = now + self._hold_s
        return True
