"""The tally of a backfill: what is done of it, what failed and why, and how long it will take."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from database import BackfillWish, Filled
from history.backfill.planning import Plan, Where
from market.markets import Exchange

# Of causes that are told one by one; the others are counted.
MOST_TOLD: Final = 100
_LONGEST_CAUSE: Final = 200
# After so many asks of a limit their own speed counts, not only the planned one.
_MEASURED_AFTER: Final = 20


@dataclass(slots=True)
class _Limit:
    """What is asked within one limit. `planned_s`: of all."""

    total: int
    planned_s: float
    done: int = 0

    @property
    def left(self) -> int:
        return self.total - self.done

    @property
    def pace_s(self) -> float:
        """Of one ask, as planned from one address."""
        return self.planned_s / self.total

    def left_s(self, elapsed_s: float, addresses: int) -> float:
        """At the slower of the planned and the measured speed."""
        planned_s = self.pace_s / addresses
        measured_s = elapsed_s / self.done if self.done >= _MEASURED_AFTER else 0.0
        return self.left * max(planned_s, measured_s)


@dataclass(slots=True)
class Tally:
    """Of one run of a wish; what earlier runs have done counts, too. `failures`: by market or
    exchange, the first cause of each. `addresses`: from so many the exchanges are asked now.
    `of_others`: requests that other hosts have sent for it."""

    row: BackfillWish
    failures: dict[str, str] = field(default_factory=dict)
    failed_exchanges: set[Exchange] = field(default_factory=set)
    filled: Filled = field(default_factory=Filled)
    markets: int = 0
    requests: int = 0
    of_others: int = 0
    addresses: int = 1
    left_out: int = 0
    out_of_reach: int = 0  # instants that the exchange serves no more
    to_documents: int = 0  # rows that the documents tell by themselves
    _limits: dict[Where, _Limit] = field(default_factory=dict)
    _since_s: float = field(default_factory=time.monotonic)

    def planned(self, plan: Plan) -> None:
        """The plan's requests are to be done, from now on."""
        self._limits = {
            where: _Limit(requests, seconds)
            for where, (requests, seconds) in plan.costs.by_limit().items()
            if requests
        }
        self._since_s = time.monotonic()

    def ask_done(self, where: Where, count: int = 1) -> None:
        self._limits[where].done += count

    def left(self, where: Where) -> int:
        """How many asks of the limit are not done."""
        return self._limits[where].left

    def pace_s(self, where: Where) -> float:
        """How long one ask of the limit takes from one address, as planned."""
        return self._limits[where].pace_s

    def failed(self, name: str, cause: str) -> None:
        """A market or an exchange failed for this cause, at least in part."""
        self.failures.setdefault(name, cause[:_LONGEST_CAUSE])

    def exchange_failed(self, exchange: Exchange, cause: str) -> None:
        """The exchange cannot be asked; all that is still to be asked of it is left."""
        self.failed_exchanges.add(exchange)
        self.failed(str(exchange), cause)

    @property
    def done_now(self) -> int:
        return sum(limit.done for limit in self._limits.values())

    @property
    def total_now(self) -> int:
        return sum(limit.total for limit in self._limits.values())

    @property
    def seconds_left(self) -> float:
        elapsed_s = time.monotonic() - self._since_s
        lefts = (limit.left_s(elapsed_s, self.addresses) for limit in self._limits.values())
        return max(lefts, default=0.0)

    @property
    def rows(self) -> int:
        """Added and corrected ones."""
        return self.filled.added + self.filled.corrected

    def told_failures(self) -> Mapping[str, str]:
        """The failures, at most MOST_TOLD, and how many more there are."""
        names = sorted(self.failures)
        told = {name: self.failures[name] for name in names[:MOST_TOLD]}
        if more := len(names) - len(told):
            told["..."] = f"and {more} more"
        return told

    @property
    def all_failed(self) -> bool:
        """Whether nothing could be asked, or an exchange had to be given up."""
        return bool(self.failed_exchanges) or 0 < self.markets <= len(self.failures)

    def error(self) -> str | None:
        """What failed, in one line; None if nothing did."""
        if not self.failures:
            return None
        told = [f"{name}: {cause}" for name, cause in sorted(self.failures.items())[:3]]
        more = len(self.failures) - len(told)
        rest = f"; and {more} more" if more else ""
        return f"{len(self.failures)} of {self.markets} markets: {'; '.join(told)}{rest}"
