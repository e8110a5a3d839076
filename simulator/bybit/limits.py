"""Bybit's simulated rate limit: 600 requests in any 5 seconds, then 403 for ten minutes."""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any, Final

from simulator.clock import Clock
from simulator.limits import ClientLimits, ClientRecord, LimitSettings, Refusal
from simulator.stats import Stats

NAME: Final = "bybit"


@dataclass(frozen=True, slots=True)
class BybitLimitSettings(LimitSettings):
    in_5_s: int = 600
    ban_s: float = 600.0

    @classmethod
    def from_options(cls, options: Namespace) -> "BybitLimitSettings":
        return cls(
            enabled=not options.no_limits,
            grace_s=options.grace_seconds,
            in_5_s=options.bybit_limit,
            ban_s=options.bybit_ban_seconds,
        )


def add_options(group: Any) -> None:
    """The command line's options of this limit."""
    add = group.add_argument
    add("--bybit-limit", type=int, default=600, metavar="N",
        help="Bybit requests per 5 seconds (600)")  # fmt: skip
    add("--bybit-ban-seconds", type=float, default=600.0, metavar="S",
        help="how long Bybit's 403 lasts (600)")  # fmt: skip
    add("--bapi-headers", action="store_true", help="X-Bapi-Limit headers on public calls")


class BybitLimits:
    """Decides whether a request is admitted."""

    def __init__(self, settings: BybitLimitSettings, clock: Clock, stats: Stats) -> None:
        self.settings = settings
        self._stats = stats
        self._clients = ClientLimits(NAME, settings, clock, stats, ClientRecord)

    def forget(self) -> None:
        self._clients.forget()

    def take(self, client: str) -> Refusal | None:
        """Counts a request; None admits it."""
        if self.settings.enabled:
            banned = self._clients.refuse_if_banned(client, 403)
            if banned is not None:
                return banned
        wait_s = self._clients.count_in_window(client, NAME, self.settings.in_5_s, 5.0)
        if wait_s <= 0 or not self.settings.enabled:
            return None
        self._stats.limits_broken["bybit 403"] += 1
        return self.ban(client)

    def ban(self, client: str, seconds: float | None = None) -> Refusal:
        """Bans a client with 403 for `seconds`, by default `ban_s` of the settings."""
        return self._clients.ban(client, 403, self.settings.ban_s if seconds is None else seconds)
