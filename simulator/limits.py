"""The parts of rate limits: sliding windows, bans and refusals for each client.

Each exchange's own module has its limits and what follows when they are broken.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from simulator.clock import Clock
from simulator.stats import Stats


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Settings of all exchanges' limits; `enabled` False counts requests but refuses none."""

    enabled: bool = True
    # For this long after a refusal, further requests may have been sent before it arrived
    # (choice; the documentation gives no number).
    grace_s: float = 0.5


class Refusal(NamedTuple):
    """A refused request: its status, how long to wait, and until when."""

    status: int
    retry_after_s: int
    until_ms: int  # exchange time


@dataclass(slots=True)
class ClientRecord:
    """The windows and the ban of one client address."""

    windows: dict[str, deque[float]] = field(default_factory=dict)
    banned_at_s: float = 0.0
    banned_until_s: float = 0.0


Record = TypeVar("Record", bound=ClientRecord)


class ClientLimits(Generic[Record]):
    """The windows and bans of one exchange's clients; `make` creates an empty record."""

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
        """Empties all windows and ends all bans."""
        self._clients.clear()

    def record(self, client: str) -> Record:
        record = self._clients.get(client)
        if record is None:
            record = self._clients[client] = self._make()
        return record

    def refuse_if_banned(self, client: str, status: int) -> Refusal | None:
        """Counts and refuses a request of a banned client; None if it is not banned."""
        record, now_s = self.record(client), self.clock.elapsed_s()
        if now_s >= record.banned_until_s:
            return None
        since_s = now_s - record.banned_at_s
        self.stats.count_while_banned(self.exchange, since_s, self.common.grace_s)
        return self.refusal(status, record.banned_until_s - now_s)

    def ban(self, client: str, status: int, seconds: float) -> Refusal:
        record = self.record(client)
        record.banned_at_s = self.clock.elapsed_s()
        record.banned_until_s = record.banned_at_s + seconds
        return self.refusal(status, seconds)

    def count_in_window(
        self, client: str, counter: str, limit: int, span_s: float, *, of: str = ""
    ) -> float:
        """Counts one request; returns the seconds to wait if over `limit` in `span_s`, else 0.

        `of`: each value of it is counted in a window of its own.
        """
        now_s = self.clock.elapsed_s()
        window = self.record(client).windows.setdefault(
            f"{counter} {of}" if of else counter, deque()
        )
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
