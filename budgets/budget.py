"""Budget of one rate limit: what may be sent now, and how long to wait. No I/O, no clock.

A request takes room from when it is admitted until one window after its answer, because the
exchange may count it at any time in between. This is right for sliding windows and for windows
that begin at full minutes. A part of a budget may be spent at once (Limit.burst), the rest is
spread evenly over the window.

Requests that can wait may take only a share of the budget. What they hold does not slow down the
others, as long as there is room for both.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from venues.venue import Limit

# How far pacing catches up after a late wake-up: this part of a window, or so many seconds.
_CATCH_UP: Final = 0.05
_CATCH_UP_S: Final = 0.25
_MAX_UNREPORTED: Final = 5000  # requests since the last one whose answer reported usage
ANSWER_SOON_S: Final = 0.02  # delay while requests under way take all the room


@dataclass(slots=True, eq=False)
class Ticket:
    """Permission to send one request; to be given back when it is answered or abandoned.

    `shared`: it was taken from a share. `slot`: in which its room of the budget that processes
    share was taken; empty if it has none.
    """

    number: int
    weight: int
    shared: bool = False
    slot: str = ""


class Budget:
    """One limit's budget, `fraction` of the limit; `now` is monotonic time in seconds."""

    def __init__(self, limit: Limit, fraction: float) -> None:
        self.limit = limit
        self.quantity = max(1, math.floor(fraction * limit.quantity))
        self._burst = self.quantity * limit.burst
        self._spacing_s = limit.window_s / self.quantity
        self._catch_up_s = max(limit.window_s * _CATCH_UP, _CATCH_UP_S)
        # (freed at, weight, taken from a share), ascending
        self._held: deque[tuple[float, int, bool]] = deque()
        self._held_weight = 0
        self._under_way = 0
        self._shared_weight = 0  # held or under way
        self._next_at = 0.0
        self._number = 0
        # The exchange's last report of usage, and what we have sent since that request.
        self._reported = 0
        self._reported_until = 0.0
        self._reported_number = 0
        self._sent_since: deque[tuple[int, int]] = deque()
        self._sent_since_weight = 0

    def used(self, now: float) -> int:
        """The weight in use: ours, or the exchange's report for this address if that is more."""
        while self._held and self._held[0][0] <= now:
            _, weight, shared = self._held.popleft()
            self._held_weight -= weight
            self._shared_weight -= weight if shared else 0
        ours = self._held_weight + self._under_way
        if now >= self._reported_until:
            return ours
        return max(ours, self._reported + self._sent_since_weight)

    def delay(self, now: float, weight: int) -> float:
        """Seconds until it is worth asking again; 0: the request may be sent."""
        used = self.used(now)
        if not used:
            return 0.0  # a request heavier than the whole budget is sent alone
        if used + weight > self.quantity:
            return self._wait_s(now, weight)
        if used - self._shared_weight + weight > self._burst:
            return max(0.0, self._next_at - now)
        return 0.0

    def share_delay(self, now: float, weight: int, share: float) -> float:
        """Seconds until it is worth asking again for a request from this share of the budget; 0:
        it may be sent as soon as `delay` is 0 too."""
        self.used(now)
        if self._shared_weight and self._shared_weight + weight > self.quantity * share:
            return max(ANSWER_SOON_S, weight * self._spacing_s / share)
        return 0.0

    def share_free_in(self, now: float, weight: int, share: float) -> float:
        """Seconds until the share has room for such a request, at the soonest; 0: it has."""
        self.used(now)
        excess = self._shared_weight + weight - self.quantity * share
        if not self._shared_weight or excess <= 0:
            return 0.0
        for free_at, held, shared in self._held:
            excess -= held if shared else 0
            if excess <= 0:
                return free_at - now
        return self.limit.window_s  # those under way hold theirs for so long after their answers

    def take(self, now: float, weight: int, share: float | None = None) -> Ticket:
        """Admits a request; call it only when `delay` was 0, and `share_delay` for a share."""
        if share is not None:
            self._shared_weight += weight
        elif self.used(now) - self._shared_weight + weight > self._burst:
            earliest = now - self._catch_up_s
            self._next_at = max(self._next_at, earliest) + weight * self._spacing_s
        self._number += 1
        self._under_way += weight
        if self.limit.header is not None:
            self._sent_since.append((self._number, weight))
            self._sent_since_weight += weight
            if len(self._sent_since) > _MAX_UNREPORTED:  # the header has been missing for long
                self._sent_since_weight -= self._sent_since.popleft()[1]
        return Ticket(self._number, weight, share is not None)

    def give_back(self, now: float, ticket: Ticket) -> None:
        """The request was answered or abandoned at `now`."""
        self._under_way -= ticket.weight
        self._held_weight += ticket.weight
        self._held.append((now + self.limit.window_s, ticket.weight, ticket.shared))

    def correct(self, now: float, ticket: Ticket, reported: int, valid_s: float) -> None:
        """The answer to `ticket` reports `reported` in use, in a window that ends in `valid_s`.

        The report covers this request and those before it, of every program at this address.
        Only what we sent afterwards is added, so nothing is counted twice.
        """
        if ticket.number < self._reported_number:
            return  # the answer to a later request came first
        self._reported, self._reported_until = reported, now + valid_s
        self._reported_number = ticket.number
        while self._sent_since and self._sent_since[0][0] <= ticket.number:
            self._sent_since_weight -= self._sent_since.popleft()[1]

    def _wait_s(self, now: float, weight: int) -> float:
        excess = self._held_weight + self._under_way + weight - self.quantity
        wait_s = 0.0
        if excess > 0:
            wait_s = ANSWER_SOON_S
            for free_at, held, _ in self._held:
                excess -= held
                if excess <= 0:
                    wait_s = free_at - now
                    break
        if (
            now < self._reported_until
            and self._reported + self._sent_since_weight + weight > self.quantity
        ):
            wait_s = max(wait_s, self._reported_until - now)
        return wait_s
