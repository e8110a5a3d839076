"""FACADES: what the facade knows of each exchange, from the file here that bears its name."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from facade.venue import FacadeVenue
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
    if facade.read_contracts is None and any(each.by_market for each in limits.values()):
        raise TypeError(
            f"facade/exchanges/{exchange}.py: {exchange} counts requests by market:"
            " read_contracts must tell its markets"
        )
    read = {path for path, each in facade.paths.items() if each.answerer not in (None, "time")}
    if read != set(facade.asked):
        raise TypeError(
            f"facade/exchanges/{exchange}.py: `asked` must have the paths of candles and histories,"
            f" {', '.join(sorted(read))}"
        )
    return facade


FACADES: Final[Mapping[Exchange, FacadeVenue]] = MappingProxyType(
    {exchange: _facade(exchange) for exchange in Exchange}
)
