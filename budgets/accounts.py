"""Accounts: the budgets of one exchange's limits, one of each, or of each market. No I/O, no clock.

A limit that is counted by market has as many budgets as markets are asked for: they are made when
they are first needed, and forgotten when nothing of them is used.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from budgets.budget import Budget
from venues.venue import Limit, Request

MOST_MARKETS: Final = 4096  # budgets by market of one exchange at a time


@dataclass(slots=True, eq=False)
class Account:
    """One budget, and the turns of those that wait for it. `users`: who waits for it now."""

    budget: Budget
    # First come, first served: light requests must not starve a heavy one.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Those that wait for their share do so apart, where nobody waits behind them.
    share_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Accounts:
    """`limits`: by counter; `fraction`: the part of each that is ours."""

    def __init__(self, limits: Mapping[str, Limit], fraction: float) -> None:
        self._limits = limits
        self._fraction = fraction
        # Of a limit by market this is the one of the requests about none.
        self._whole = {each: Account(Budget(limit, fraction)) for each, limit in limits.items()}
        self._by_market: dict[tuple[str, str], Account] = {}

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """By counter; of a limit by market that of the requests about none."""
        return {counter: account.budget for counter, account in self._whole.items()}

    def find(self, counter: str, market: str | None) -> Account | None:
        """The account; None if there is none of this market now, so that nothing of it is used."""
        if market is None or not self._limits[counter].by_market:
            return self._whole[counter]
        return self._by_market.get((counter, market))

    def of(self, request: Request, now: float) -> Account | None:
        """The request's account, made if need be; None while there are too many in use."""
        found = self.find(request.counter, request.symbol)
        if found is not None or request.symbol is None:
            return found
        if len(self._by_market) >= MOST_MARKETS:
            self._forget_unused(now)
            if len(self._by_market) >= MOST_MARKETS:
                return None
        found = Account(Budget(self._limits[request.counter], self._fraction))
        self._by_market[request.counter, request.symbol] = found
        return found

    def all_of(self, counter: str) -> Iterable[Account]:
        """All that there are of the counter."""
        yield self._whole[counter]
        yield from (each for (name, _), each in [*self._by_market.items()] if name == counter)

    def _forget_unused(self, now: float) -> None:
        unused = [
            key
            for key, account in self._by_market.items()
            if not account.users and not account.budget.used(now)
        ]
        for key in unused:
            del self._by_market[key]


@contextmanager
def used_by(account: Account) -> Iterator[Account]:
    """Keeps the account meanwhile."""
    account.users += 1
    try:
        yield account
    finally:
        account.users -= 1
