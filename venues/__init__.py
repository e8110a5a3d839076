"""VENUES: the facts of every exchange, loaded from the file in venues/ that bears its name."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from market.markets import Exchange
from venues.venue import Venue


def _venue(exchange: Exchange) -> Venue:
    venue = import_module(f"venues.{exchange}").VENUE
    if not isinstance(venue, Venue) or venue.exchange is not exchange:
        raise TypeError(f"venues/{exchange}.py: VENUE must be the Venue of {exchange}")
    return venue


VENUES: Final[Mapping[Exchange, Venue]] = MappingProxyType(
    {exchange: _venue(exchange) for exchange in Exchange}
)
