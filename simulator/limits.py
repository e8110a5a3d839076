"""The exchanges' rate limits, kept for each client. Decides whether a request is let through.

Binance: 2400 weight in a fixed minute; 500 funding requests and 1000 `/futures/data` requests in
sliding windows of 5 minutes; 429 when broken, 418 for a client that goes on. Bybit: 600 requests
in any 5 seconds; 403 for a time when broken.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from simulator.clock import Clock
from simulator.stats import Stats

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """All limits; `enabled` False lets everything through but goes on counting."""

    enabled: bool = True
    weight_a_minute: int = 2400
    funding_in_5_minutes: int = 500
    data_in_5_minutes: int = 1000
    bybit_in_5_s: int = 600
    ban_s: float = 120.0  # the first 418; the next ones double up to 3 days (choice)
    # How long after a 429 further requests get another 429 rather than the ban: those that were
    # on their way could not know (choice; the documentation gives no number).
    grace_s: float = 0.5
    bybit_ban_s: float = 600.0
    retry_after: bool = True


class Refusal(NamedTuple):
    """Why a request is not let through."""

    status: int  # 429, 418 or 403
    retry_after_s: int
    until_ms: int  # exchange time


@dataclass(slots=True)
class _Client:
    minute: int = -1
    weight: int = 0
    windows: dict[str, deque[float]] = field(default_factory=dict)
    told_until_s: dict[str, tuple[float, float]] = field(default_factory=dict)  # told at, until
    made_up: set[str] = field(default_factory=set)  # counters told to wait by a fault
    banned_at_s: float = 0.0
    banned_until_s: float = 0.0
    bans: int = 0
    bybit_banned_at_s: float = 0.0
    bybit_banned_until_s: float = 0.0


class Limits:
    """One book for each client address."""

    def __init__(self, settings: LimitSettings, clock: Clock, stats: Stats) -> None:
        self.settings = settings
        self._clock = clock
        self._stats = stats
        self._clients: dict[str, _Client] = {}

    def forget(self) -> None:
        """All windows empty, all bans over."""
        self._clients.clear()

    def weight_used(self, client: str) -> int:
        """What the header shows: the weight used in this minute, this request included."""
        return self._client(client).weight

    def binance(self, client: str, counter: str, cost: int) -> Refusal | None:
        """Counts a request against `weight`, `funding` or `data`; None lets it through."""
        book, now_s = self._client(client), self._clock.monotonic_s()
        if self.settings.enabled:
            if now_s < book.banned_until_s:
                self._stats.count_while_banned(
                    "binance", now_s - book.banned_at_s, self.settings.grace_s
                )
                return self._refusal(418, book.banned_until_s - now_s)
            told_s, until_s = book.told_until_s.get(counter, (0.0, 0.0))
            if now_s < until_s:
                if now_s < told_s + self.settings.grace_s:
                    if counter not in book.made_up:
                        self._stats.limits_broken[f"binance 429 {counter}"] += 1
                    return self._refusal(429, until_s - now_s)
                self._stats.limits_broken["binance 418"] += 1
                return self.ban(client)
        if counter == "weight":
            wait_s = self._take_weight(book, cost)
        else:
            limit = {
                "funding": self.settings.funding_in_5_minutes,
                "data": self.settings.data_in_5_minutes,
            }[counter]
            wait_s = self._take_one(book, counter, limit, 300.0, now_s)
        if wait_s <= 0 or not self.settings.enabled:
            return None
        self._stats.limits_broken[f"binance 429 {counter}"] += 1
        return self.tell(client, counter, wait_s)

    def bybit(self, client: str) -> Refusal | None:
        """Counts a request; None lets it through."""
        book, now_s = self._client(client), self._clock.monotonic_s()
        if self.settings.enabled and now_s < book.bybit_banned_until_s:
            self._stats.count_while_banned(
                "bybit", now_s - book.bybit_banned_at_s, self.settings.grace_s
            )
            return self._refusal(403, book.bybit_banned_until_s - now_s)
        wait_s = self._take_one(book, "bybit", self.settings.bybit_in_5_s, 5.0, now_s)
        if wait_s <= 0 or not self.settings.enabled:
            return None
        self._stats.limits_broken["bybit 403"] += 1
        return self.ban_bybit(client, self.settings.bybit_ban_s)

    def tell(self, client: str, counter: str, wait_s: float, *, made_up: bool = False) -> Refusal:
        """A 429: whoever goes on with this counter before it is over will be banned.

        `made_up`: a fault's, so that those on their way meanwhile have broken nothing.
        """
        now_s = self._clock.monotonic_s()
        book = self._client(client)
        book.told_until_s[counter] = (now_s, now_s + wait_s)
        (book.made_up.add if made_up else book.made_up.discard)(counter)
        return self._refusal(429, wait_s)

    def ban(self, client: str, seconds: float | None = None) -> Refusal:
        """A 418 with its end; each ban of a client lasts twice as long as the one before."""
        book = self._client(client)
        if seconds is None:
            seconds = min(self.settings.ban_s * 2**book.bans, 3 * 86_400.0)
            book.bans += 1
        book.banned_at_s = self._clock.monotonic_s()
        book.banned_until_s = book.banned_at_s + seconds
        return self._refusal(418, seconds)

    def ban_bybit(self, client: str, seconds: float) -> Refusal:
        """A 403 that lasts."""
        book = self._client(client)
        book.bybit_banned_at_s = self._clock.monotonic_s()
        book.bybit_banned_until_s = book.bybit_banned_at_s + seconds
        return self._refusal(403, seconds)

    def _client(self, client: str) -> _Client:
        book = self._clients.get(client)
        if book is None:
            book = self._clients[client] = _Client()
        return book

    def _take_weight(self, book: _Client, cost: int) -> float:
        # Choice: the minute starts at :00 of exchange time (a frozen clock goes on here).
        now_ms = self._clock.flowing_ms() + self._clock.skew_ms["binance"]
        if now_ms // MINUTE_MS != book.minute:
            book.minute, book.weight = now_ms // MINUTE_MS, 0
        book.weight += cost
        self._stats.weight_used += cost
        if book.weight > self._stats.most_weight_in_a_minute:
            self._stats.most_weight_in_a_minute = book.weight
        if book.weight <= self.settings.weight_a_minute:
            return 0.0
        return (MINUTE_MS - now_ms % MINUTE_MS) / 1000

    def _take_one(
        self, book: _Client, counter: str, limit: int, span_s: float, now_s: float
    ) -> float:
        window = book.windows.setdefault(counter, deque())
        while window and window[0] <= now_s - span_s:
            window.popleft()
        window.append(now_s)
        if len(window) > self._stats.most_in_window[counter]:
            self._stats.most_in_window[counter] = len(window)
        if len(window) <= limit:
            return 0.0
        return window[len(window) - limit] + span_s - now_s

    def _refusal(self, status: int, wait_s: float) -> Refusal:
        until_ms = self._clock.now_ms("binance") + int(wait_s * 1000)
        return Refusal(status, max(1, -int(-wait_s // 1)), until_ms)
