"""The budgets that providers share with the collector: of the exchanges that it asks, too.

Both are limited by one counter at the exchange, for one address. The collector's budgets lie in the
hot store; tickers take their room from there, and a pause that either earns holds for both.
"""

import math
from typing import Final
from urllib.parse import urlsplit

from budgets.proxies import egress_id_of
from budgets.shared_budgets import SharedBudgets
from config import Settings
from market.markets import Exchange
from providers.budget import quantity_of
from providers.gate import Skipped
from providers.resources import Limit, Resource
from stores.hot.store import HotStore
from timing.clock import Clock
from venues import VENUES
from venues.venue import Endpoint


def _counters() -> dict[str, tuple[Exchange, str, dict[str, str]]]:
    """By host: whose it is, the counter that its candles count against, and those by path."""
    found = {}
    for exchange, venue in VENUES.items():
        candles = venue.endpoints[Endpoint.KLINES]
        host = urlsplit(venue.base_url).hostname
        if candles is not None and host is not None:
            tables = [table for table in venue.endpoints.values() if table is not None]
            found[host] = exchange, candles.counter, {each.path: each.counter for each in tables}
    return found


_COUNTERS: Final = _counters()


def exchange_of(resource: Resource) -> Exchange | None:
    """The exchange that it asks, if that is one that the collector asks, too."""
    exchange, *_ = _COUNTERS.get(urlsplit(resource.url).hostname or "", (None,))
    return exchange


def counter_of(resource: Resource) -> tuple[Exchange, str]:
    """The exchange, and what of its limits the resource counts against; as candles do where the
    collector does not know the path. KeyError for any other resource."""
    url = urlsplit(resource.url)
    exchange, of_candles, by_path = _COUNTERS[url.hostname or ""]
    return exchange, by_path.get(url.path, of_candles)


class ExchangeBudgets:
    def __init__(self, settings: Settings, store: HotStore, clock: Clock) -> None:
        egress = {each: egress_id_of(settings, each) for each in VENUES}
        self._shared = SharedBudgets(store, settings.egress_id, clock, egress)
        self._clock = clock
        self._fraction = settings.rate_fraction

    def concern(self, resource: Resource) -> bool:
        """Whether the resource is asked within the collector's budgets."""
        return exchange_of(resource) is not None

    async def take(self, resource: Resource) -> None:
        """Takes room for one call. Raises Skipped if there is none now."""
        exchange, counter = counter_of(resource)
        limit = VENUES[exchange].limits[counter]
        quantity = quantity_of(Limit(limit.quantity, round(limit.window_s)), self._fraction)
        grant = await self._shared.take(
            exchange, counter, limit, quantity, resource.weight, resource.weight
        )
        if grant.paused_s > 0:
            until_ms = self._in_ms(grant.paused_s)
            raise Skipped("out", f"the exchange is paused: {grant.cause}", until_ms)
        if grant.room < resource.weight:
            until_ms = self._in_ms(grant.valid_s)
            raise Skipped("no_budget", "the collector uses the exchange's budget", until_ms)

    def _in_ms(self, seconds: float) -> int:
        return self._clock.wall_ms() + math.ceil(seconds * 1000)

    async def pause(self, resource: Resource, seconds: float, cause: str) -> None:
        """Has nobody at this address ask the exchange for so long, unless its refusals concern one
        limit alone: then it is the resource that is left alone."""
        exchange, _ = counter_of(resource)
        if not VENUES[exchange].refuses_by_limit:
            await self._shared.pause(exchange, seconds, cause)
