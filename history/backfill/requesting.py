"""Requests for backfills: checked, priced, and stored as wishes; equal open ones are one."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config import Settings
from database import BackfillWish, Database
from history.backfill.bounds import Bounds
from history.backfill.cost import Costs
from history.backfill.planning import estimate, keys_of, plan
from history.backfill.series import Target
from history.backfill.shares import Shares, shares_beside_collections
from history.backfill.wanted import Wanted
from market.markets import Market

MOST_OPEN: Final = 100
_MOST_NAMED: Final = 10


class TooManyOpen(Exception):
    """So many backfills are open that no other is taken."""

    def __init__(self) -> None:
        super().__init__(f"{MOST_OPEN} backfills are open: wait for some, or cancel them")


async def targets_of(
    database: Database, wanted: Wanted, *, quote: str, markets_limit: int
) -> list[Target]:
    """The markets of a wish, as the database has them. Raises ValueError for unknown symbols,
    DatabaseUnavailable."""
    found: Sequence[tuple[Market, int | None]]
    if wanted.symbols:
        found = await database.markets.named(
            wanted.symbols, exchanges=wanted.exchanges, quote=quote
        )
        unknown = sorted({*wanted.symbols} - {market.symbol for market, _ in found})
        if unknown:
            more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
            names = ", ".join(unknown[:_MOST_NAMED])
            raise ValueError(
                f"symbols: no known {quote} market of {', '.join(wanted.exchanges)} is called"
                f" {names}{more}; GET /coins and `python main.py coins list` have the known ones"
            )
    else:
        collected = await database.get_all_unique_coins(
            exchanges=wanted.exchanges, quote=quote, markets_limit=markets_limit
        )
        found = [(market, None) for market in collected]
    return [Target(market, listed_to_ms) for market, listed_to_ms in found]


@dataclass(frozen=True, slots=True)
class Pricing:
    """What decides what a backfill costs, beside what is stored. `addresses`: from so many the
    exchanges are asked."""

    settings: Settings
    now_ms: int
    addresses: int = 1

    async def at_most(self, database: Database, wanted: Wanted, targets: Sequence[Target]) -> Costs:
        """The cost by what is covered alone, in few calls. Raises DatabaseUnavailable."""
        coverage = await database.history.coverage(keys_of(wanted, targets))
        bounds, costs = await self._bounds(database), await self._costs(database)
        return await asyncio.to_thread(estimate, wanted, targets, lambda _: bounds, coverage, costs)

    async def exact(self, database: Database, wanted: Wanted, targets: Sequence[Target]) -> Costs:
        """The cost of all that is lacking, in some calls for each market. Raises
        DatabaseUnavailable."""
        bounds, costs = await self._bounds(database), await self._costs(database)
        found = await plan(wanted, targets, lambda _: bounds, database.history, costs)
        return found.costs

    async def _bounds(self, database: Database) -> Bounds:
        windows = await database.publishes.windows()
        return Bounds(self.now_ms, self.settings.retention_days, windows)

    async def _costs(self, database: Database) -> Costs:
        shares = await shares_of(database, self.settings)
        return Costs(self.settings.rate_fraction, shares, self.addresses)


async def shares_of(database: Database, settings: Settings) -> Shares:
    """The shares of all exchanges' budgets beside the collections of all collected markets, however
    few of them are asked for. Raises DatabaseUnavailable."""
    collected = await database.get_all_unique_coins(
        exchanges=settings.exchanges, quote=settings.quote, markets_limit=settings.markets_limit
    )
    markets = Counter(market.exchange for market in collected)
    return shares_beside_collections(settings.rate_fraction, settings.backfill_fraction, markets)


async def request_backfill(database: Database, wanted: Wanted, now_ms: int) -> BackfillWish:
    """The wish, or an equal one that is open. Raises TooManyOpen, DatabaseUnavailable."""
    plain = wanted.plain()
    wishes = await database.backfills.open()
    for each in wishes:
        if dict(each.wanted) == plain:
            return each
    if len(wishes) >= MOST_OPEN:
        raise TooManyOpen
    wish_id = await database.backfills.add(plain, now_ms)
    found = await database.backfills.find(wish_id)
    assert found is not None  # noqa: S101 - nobody removes wishes
    return found
