"""FACADES: what the facade knows of each exchange, from the file here that bears its name."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from facade.venue import FacadeVenue, no_market
from market.markets import Exchange
from venues import VENUES


def _file(exchange: Exchange) -> str:
    return f"facade/exchanges/{exchange}.py"


def _facade(exchange: Exchange) -> FacadeVenue:
    facade = import_module(f"facade.exchanges.{exchange}").FACADE
    if not isinstance(facade, FacadeVenue) or facade.exchange is not exchange:
        raise TypeError(
            f"facade/exchanges/{exchange}.py: FACADE must be the FacadeVenue of {exchange}"
        )
    limits = VENUES[exchange].limits
    unknown = {each.counter for each in facade.paths.values()} - set(limits)
    if unknown:
        raise TypeError(
            f"facade/exchanges/{exchange}.py: {exchange} has no limit {', '.join(unknown)}"
        )
    for each in facade.paths.values():
        if limits[each.counter].by_market and each.market is no_market:
            raise TypeError(
                f"facade/exchanges/{exchange}.py: {each.path} must tell the market of a query, by "
                f"which {exchange} counts {each.counter}"
            )
    return facade


FACADES: Final[Mapping[Exchange, FacadeVenue]] = MappingProxyType(
    {exchange: _facade(exchange) for exchange in Exchange}
)
