"""What rate limits are made of: sliding windows, bans and refusals, kept for each client.

Which limits an exchange has, and what it does to who breaks them, stands with the exchange.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from simulator.clock import Clock
from simulator.stats import Stats


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """`enabled` False lets everything through but goes on counting."""

    enabled: bool = True
    # How long after a refusal further requests were on their way and could not know of it
    # (choice; the documentation gives no number).
    grace_s: float = 0.5


class Refusal(NamedTuple):
    """Why a request is not let through."""

    status: int
    retry_after_s: int
    until_ms: int  # exchange time


@dataclass(slots=True)
class ClientRecord:
    """What an exchange remembers of one client address."""

    windows: dict[str, deque[float]] = field(default_factory=dict)
    banned_at_s: float = 0.0
    banned_until_s: float = 0.0


Record = TypeVar("Record", bound=ClientRecord)


class ClientLimits(Generic[Record]):
    """The limits of one exchange: a record for each client, windows and bans.

    `make` makes an empty record.
    """

    def __init__(
        self, exchange: str, settings: LimitSettings, clock: Clock, stats: Stats,
        make: type[Record],
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.common = settings
        self.clock = clock
        self.stats = stats
        self._make = make
        self._clients: dict[str, Record] = {}

    def forget(self) -> None:
        """All windows empty, all bans over."""
        self._clients.clear()

    def record(self, client: str) -> Record:
        record = self._clients.get(client)
        if record is None:
            record = self._clients[client] = self._make()
        return record

    def while_banned(self, client: str, status: int) -> Refusal | None:
        """The refusal of a banned client, which is counted; None for one that is not banned."""
        record, now_s = self.record(client), self.clock.monotonic_s()
        if now_s >= record.banned_until_s:
            return None
        since_s = now_s - record.banned_at_s
        self.stats.count_while_banned(self.exchange, since_s, self.common.grace_s)
        return self.refusal(status, record.banned_until_s - now_s)

    def lay_ban(self, client: str, status: int, seconds: float) -> Refusal:
        record = self.record(client)
        record.banned_at_s = self.clock.monotonic_s()
        record.banned_until_s = record.banned_at_s + seconds
        return self.refusal(status, seconds)

    def count_in_window(self, client: str, counter: str, limit: int, span_s: float) -> float:
        """Counts one request of any `span_s`; how long to wait where there are too many."""
        now_s = self.clock.monotonic_s()
        window = self.record(client).windows.setdefault(counter, deque())
        while window and window[0] <= now_s - span_s:
            window.popleft()
        window.append(now_s)
        if len(window) > self.stats.most_in_window[counter]:
            self.stats.most_in_window[counter] = len(window)
        if len(window) <= limit:
            return 0.0
        return window[len(window) - limit] + span_s - now_s

    def refusal(self, status: int, wait_s: float) -> Refusal:
        until_ms = self.clock.now_ms(self.exchange) + int(wait_s * 1000)
        return Refusal(status, max(1, -int(-wait_s // 1)), until_ms)
