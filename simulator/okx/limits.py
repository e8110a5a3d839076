"""OKX's simulated rate limits: for each endpoint so many requests in any 2 seconds, and no ban."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from simulator.clock import Clock
from simulator.limits import ClientLimits, ClientRecord, LimitSettings
from simulator.parameters import Query
from simulator.stats import Stats

NAME: Final = "okx"


class EndpointLimit(NamedTuple):
    """`of`: the parameter whose values are counted apart; without one, all requests together."""

    requests: int
    of: str = ""
    span_s: float = 2.0


LIMITS: Final[Mapping[str, EndpointLimit]] = {
    "time": EndpointLimit(10),
    "instruments": EndpointLimit(20, "instType"),
    "klines": EndpointLimit(40),
    "history_klines": EndpointLimit(20),
    "open_interest_now": EndpointLimit(20, "instId"),
    "open_interest": EndpointLimit(10, "instId"),
    "funding_now": EndpointLimit(10, "instId"),
    "funding": EndpointLimit(10, "instId"),
    "mark_price": EndpointLimit(10, "instId"),
    "tickers": EndpointLimit(20),
    "books": EndpointLimit(40),
    "system_status": EndpointLimit(1, span_s=5.0),
}
# Of 50011: the documentation has both. `both`: one after the other.
_STATUSES: Final = {"429": (429,), "200": (200,), "both": (429, 200)}
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class OkxLimitSettings(LimitSettings):
    refusal_statuses: tuple[int, ...] = (429, 200)

    @classmethod
    def from_options(cls, options: Namespace) -> "OkxLimitSettings":
        return cls(
            enabled=not options.no_limits,
            grace_s=options.grace_seconds,
            refusal_statuses=_STATUSES[options.okx_refusal],
        )


def add_options(group: Any) -> None:
    """The command line's options of these limits."""
    group.add_argument("--okx-refusal", choices=list(_STATUSES), default="both",
        help="the HTTP status of OKX's code 50011; both: by turns (both)")  # fmt: skip


class OkxLimits:
    """Decides whether a request is admitted."""

    def __init__(self, settings: OkxLimitSettings, clock: Clock, stats: Stats) -> None:
        self.settings = settings
        self._stats = stats
        self._clients = ClientLimits(NAME, settings, clock, stats, ClientRecord)
        self._refused = 0

    def forget(self) -> None:
        self._clients.forget()

    def take(self, client: str, endpoint: str, query: Query) -> int | None:
        """Counts a request; the HTTP status of its refusal, or None if it is admitted."""
        limit = LIMITS[endpoint]
        wait_s = self._clients.count_in_window(
            client, f"{NAME} {endpoint}", limit.requests, limit.span_s,
            of=query.get(limit.of, "")[:_LONGEST_NAME],
        )  # fmt: skip
        if wait_s <= 0 or not self.settings.enabled:
            return None
        self._stats.limits_broken[f"{NAME} 50011 {endpoint}"] += 1
        statuses = self.settings.refusal_statuses
        self._refused += 1
        return statuses[(self._refused - 1) % len(statuses)]
