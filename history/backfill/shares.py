"""Shares of the budgets that a backfill may use, so that collections find room beside it. Pure."""

from collections.abc import Mapping
from math import floor
from typing import Final

from market.markets import Exchange
from venues import VENUES
from venues.venue import Endpoint

Shares = Mapping[tuple[Exchange, str], float]  # by exchange and limit

# Where a close needs a request for each market out of a budget that may be spent at once, so many
# for each are left to it: a few markets are asked again. But no less than this part is used.
_REQUESTS_A_MARKET: Final = 1.1
_LEAST_SHARE: Final = 0.25


def quantity_of(exchange: Exchange, counter: str, rate_fraction: float) -> int:
    """What may be spent of a limit in its window, of one by market of each; as budgets.Budget has
    it."""
    return max(1, floor(rate_fraction * VENUES[exchange].limits[counter].quantity))


def shares_beside_collections(
    rate_fraction: float, backfill_fraction: float, markets: Mapping[Exchange, int]
) -> Shares:
    """`backfill_fraction` of each budget, or less of one that collections need at once. `markets`:
    how many of each exchange are collected, none of one that is not named."""
    found = {}
    for exchange in Exchange:
        count = markets.get(exchange, 0)
        interest = VENUES[exchange].endpoints.get(Endpoint.OPEN_INTEREST)
        for counter, limit in VENUES[exchange].limits.items():
            share = backfill_fraction
            if interest is not None and interest.counter == counter and limit.burst == 1.0:
                quantity = quantity_of(exchange, counter, rate_fraction)
                asked = min(count, 1) if limit.by_market else count
                left = (quantity - _REQUESTS_A_MARKET * asked) / quantity
                share = min(share, max(left, _LEAST_SHARE))
            found[exchange, counter] = share
    return found
