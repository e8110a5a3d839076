"""Which assets the agent asks about: those that AGENT_ASSETS names, or all that are collected."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from database import DatabaseUnavailable
from market.markets import Exchange, Market
from providers.assets import ALL, Assets
from providers.exchange_budgets import exchange_of
from providers.paths import placeholders
from providers.registry import Registry

_PERPETUALS: Final = "price.perp"
_AGAIN_S: Final = 300.0  # markets are listed daily


class AgentAssets:
    """`names`: of AGENT_ASSETS, where * stands for every asset that is known and of which a market
    is collected. `markets`: tells these."""

    def __init__(
        self,
        names: Sequence[str],
        known: Assets,
        registry: Registry,
        markets: Callable[[], Awaitable[Sequence[Market]]],
    ) -> None:
        """Raises UnknownAsset."""
        self._all = ALL in names
        self._named = tuple(dict.fromkeys(known.find(each).id for each in names if each != ALL))
        self._known = known
        self._markets = markets
        self._namespaces = _namespaces(registry)
        self._collected: tuple[str, ...] | None = None
        self._read_s = 0.0

    async def ids(self) -> tuple[str, ...]:
        """Raises DatabaseUnavailable where all are wanted, and none were ever read."""
        if not self._all:
            return self._named
        now_s = time.monotonic()
        if not self._collected or now_s - self._read_s > _AGAIN_S:
            try:
                self._collected, self._read_s = self._of(await self._markets()), now_s
            except DatabaseUnavailable:
                if self._collected is None:
                    raise
        return tuple(dict.fromkeys((*self._named, *self._collected)))

    def _of(self, markets: Sequence[Market]) -> tuple[str, ...]:
        found = (
            self._known.by(namespace, market.base)
            for market in markets
            for namespace in self._namespaces[market.exchange]
        )
        return tuple(sorted({asset.id for asset in found if asset is not None}))


def _namespaces(registry: Registry) -> dict[Exchange, set[str]]:
    """What the exchanges whose perpetuals are collected call assets."""
    found: dict[Exchange, set[str]] = defaultdict(set)
    for row in registry.chain(_PERPETUALS):
        exchange = exchange_of(row)
        if exchange is not None:
            found[exchange].update(placeholders(str(row.read.get("id", ""))))
    return found
