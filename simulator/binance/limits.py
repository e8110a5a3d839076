"""Binance's simulated rate limits: weight, funding and data requests, 429 and 418.

The limits are 2400 weight in a fixed minute, and 500 funding and 1000 `/futures/data` requests in
sliding windows of 5 minutes. A broken limit gives 429; a client that continues gets 418.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.clock import Clock
from simulator.limits import ClientLimits, ClientRecord, LimitSettings, Refusal
from simulator.stats import Stats

NAME: Final = "binance"
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class BinanceLimitSettings(LimitSettings):
    weight_a_minute: int = 2400
    funding_in_5_minutes: int = 500
    data_in_5_minutes: int = 1000
    ban_s: float = 120.0  # the first 418; the next ones double up to 3 days (choice)
    retry_after: bool = True

    @classmethod
    def from_options(cls, options: Namespace) -> "BinanceLimitSettings":
        return cls(
            enabled=not options.no_limits,
            grace_s=options.grace_seconds,
            weight_a_minute=options.weight_limit,
            funding_in_5_minutes=options.funding_limit,
            data_in_5_minutes=options.data_limit,
            ban_s=options.ban_seconds,
            retry_after=not options.no_retry_after,
        )


def add_options(group: Any) -> None:
    """The command line's options of these limits."""
    add = group.add_argument
    add("--weight-limit", type=int, default=2400, metavar="N",
        help="Binance weight per minute (2400)")  # fmt: skip
    add("--funding-limit", type=int, default=500, metavar="N",
        help="Binance funding requests per 5 minutes (500)")  # fmt: skip
    add("--data-limit", type=int, default=1000, metavar="N",
        help="Binance /futures/data requests per 5 minutes (1000)")  # fmt: skip
    add("--ban-seconds", type=float, default=120.0, metavar="S",
        help="first Binance ban after an ignored 429; later ones double (120)")  # fmt: skip
    add("--no-retry-after", action="store_true", help="429 and 418 without Retry-After")


@dataclass(slots=True)
class _Client(ClientRecord):
    minute: int = -1
    weight: int = 0
    pauses: dict[str, tuple[float, float]] = field(default_factory=dict)  # 429 at, wait until
    by_fault: set[str] = field(default_factory=set)  # counters whose 429 was injected by a fault
    bans: int = 0


class BinanceLimits:
    """Decides whether a request is admitted."""

    def __init__(self, settings: BinanceLimitSettings, clock: Clock, stats: Stats) -> None:
        self.settings = settings
        self._stats = stats
        self._clock = clock
        self._clients = ClientLimits(NAME, settings, clock, stats, _Client)

    def forget(self) -> None:
        self._clients.forget()

    def weight_used(self, client: str) -> int:
        """The weight used in this minute, this request included, as the header shows it."""
        return self._clients.record(client).weight

    def take(self, client: str, counter: str, cost: int) -> Refusal | None:
        """Counts a request against `weight`, `funding` or `data`; None admits it."""
        record, now_s = self._clients.record(client), self._clock.elapsed_s()
        if self.settings.enabled:
            banned = self._clients.refuse_if_banned(client, 418)
            if banned is not None:
                return banned
            refused_s, until_s = record.pauses.get(counter, (0.0, 0.0))
            if now_s < until_s:
                if now_s < refused_s + self.settings.grace_s:
                    if counter not in record.by_fault:
                        self._stats.limits_broken[f"binance 429 {counter}"] += 1
                    return self._clients.refusal(429, until_s - now_s)
                self._stats.limits_broken["binance 418"] += 1
                return self.ban(client)
        if counter == "weight":
            wait_s = self._take_weight(record, cost)
        else:
            limit = {
                "funding": self.settings.funding_in_5_minutes,
                "data": self.settings.data_in_5_minutes,
            }[counter]
            wait_s = self._clients.count_in_window(client, counter, limit, 300.0)
        if wait_s <= 0 or not self.settings.enabled:
            return None
        self._stats.limits_broken[f"binance 429 {counter}"] += 1
        return self.refuse_429(client, counter, wait_s)

    def refuse_429(
        self, client: str, counter: str, wait_s: float, *, by_fault: bool = False
    ) -> Refusal:
        """Refuses with 429; a client that uses this counter again too early will be banned.

        `by_fault`: injected by a fault, so requests already sent count as no violation.
        """
        now_s = self._clock.elapsed_s()
        record = self._clients.record(client)
        record.pauses[counter] = (now_s, now_s + wait_s)
        (record.by_fault.add if by_fault else record.by_fault.discard)(counter)
        return self._clients.refusal(429, wait_s)

    def ban(self, client: str, seconds: float | None = None) -> Refusal:
        """Bans a client with 418; each ban lasts twice as long as the one before."""
        if seconds is None:
            record = self._clients.record(client)
            seconds = min(self.settings.ban_s * 2**record.bans, 3 * 86_400.0)
            record.bans += 1
        return self._clients.ban(client, 418, seconds)

    def _take_weight(self, record: _Client, cost: int) -> float:
        # Choice: the minute starts at :00 of exchange time, which is never frozen here.
        now_ms = self._clock.flowing_ms() + self._clock.skew_ms[NAME]
        if now_ms // _MINUTE_MS != record.minute:
            record.minute, record.weight = now_ms // _MINUTE_MS, 0
        record.weight += cost
        self._stats.weight_used += cost
        if record.weight > self._stats.most_weight_in_a_minute:
            self._stats.most_weight_in_a_minute = record.weight
        if record.weight <= self.settings.weight_a_minute:
            return 0.0
        return (_MINUTE_MS - now_ms % _MINUTE_MS) / 1000
