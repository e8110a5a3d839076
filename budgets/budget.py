"""The arithmetic of one counter: never more than its share in any window. Told the time, no I/O.

A request takes room from the moment it is let through until one window after its answer, wherever
in between the exchange counts it. That holds for windows that slide and for windows that begin
anew at each full minute. The first half of a budget may be spent at once, the rest is spread
evenly over the window.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from venues.venue import Limit

_BURST: Final = 0.5  # of a budget, spent without pacing
_CATCH_UP: Final = 0.05  # of a window: how far pacing makes up for a late wake-up
_REMEMBERED: Final = 5000  # requests since the last one whose answer told what is used
ANSWER_SOON_S: Final = 0.02  # while only requests under way take the room


@dataclass(slots=True, eq=False)
class Ticket:
    """The right to send one request; handed back when it is answered or given up."""

    number: int
    weight: int


class Budget:
    """The arithmetic of one counter. Synchronous; every method is told the monotonic time."""

    def __init__(self, limit: Limit, fraction: float) -> None:
        self.limit = limit
        self.quantity = max(1, math.floor(fraction * limit.quantity))
        self._spacing_s = limit.window_s / self.quantity
        self._held: deque[tuple[float, int]] = deque()  # (free again at, weight), in that order
        self._held_weight = 0
        self._under_way = 0
        self._next_at = 0.0
        self._number = 0
        # What the exchange said last, and what we have sent since that request.
        self._told = 0
        self._told_until = 0.0
        self._told_number = 0
        self._sent_since: deque[tuple[int, int]] = deque()
        self._sent_since_weight = 0

    def used(self, now: float) -> int:
        """What of the quantity is taken: by us, or by all of this address if that is more."""
        while self._held and self._held[0][0] <= now:
            self._held_weight -= self._held.popleft()[1]
        ours = self._held_weight + self._under_way
        if now >= self._told_until:
            return ours
        return max(ours, self._told + self._sent_since_weight)

    def delay(self, now: float, weight: int) -> float:
        """Seconds until it is worth asking again; 0: go."""
        used = self.used(now)
        if not used:
            return 0.0  # also for what is heavier than the whole budget: it goes alone
        if used + weight > self.quantity:
            return self._until_room(now, weight)
        if used + weight > self.quantity * _BURST:
            return max(0.0, self._next_at - now)
        return 0.0

    def take(self, now: float, weight: int) -> Ticket:
        """Lets a request through; only when `delay` was 0."""
        if self.used(now) + weight > self.quantity * _BURST:
            earliest = now - self.limit.window_s * _CATCH_UP
            self._next_at = max(self._next_at, earliest) + weight * self._spacing_s
        self._number += 1
        self._under_way += weight
        if self.limit.header is not None:
            self._sent_since.append((self._number, weight))
            self._sent_since_weight += weight
            if len(self._sent_since) > _REMEMBERED:  # the header has not come for very long
                self._sent_since_weight -= self._sent_since.popleft()[1]
        return Ticket(self._number, weight)

    def give_back(self, now: float, ticket: Ticket) -> None:
        """The request was answered, or given up, at `now`."""
        self._under_way -= ticket.weight
        self._held_weight += ticket.weight
        self._held.append((now + self.limit.window_s, ticket.weight))

    def correct(self, now: float, ticket: Ticket, told: int, valid_s: float) -> None:
        """The answer to `ticket` says that `told` is used in a window that ends in `valid_s`.

        It counts this request and those before it, of every program behind this address. What
        we sent afterwards is added to it, so nothing is counted twice.
        """
        if ticket.number < self._told_number:
            return  # overtaken by the answer to a later request
        self._told, self._told_until = told, now + valid_s
        self._told_number = ticket.number
        while self._sent_since and self._sent_since[0][0] <= ticket.number:
            self._sent_since_weight -= self._sent_since.popleft()[1]

    def _until_room(self, now: float, weight: int) -> float:
        excess = self._held_weight + self._under_way + weight - self.quantity
        wait_s = 0.0
        if excess > 0:
            wait_s = ANSWER_SOON_S
            for free_at, held in self._held:
                excess -= held
                if excess <= 0:
                    wait_s = free_at - now
                    break
        if now < self._told_until and self._told + self._sent_since_weight + weight > self.quantity:
            wait_s = max(wait_s, self._told_until - now)
        return wait_s
