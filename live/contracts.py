"""Sizes in contracts made into base units, for the exchanges that count contracts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import Final, TypeVar

from msgspec.structs import replace

from live.events import BookEvent, Level, TickerEvent, TradeEvent

Sized = TypeVar("Sized", TradeEvent, BookEvent, TickerEvent)
_EXACT: Final = Context(prec=100, traps=[Inexact])
_TICKER_SIZES: Final = ("last_size", "bid_size", "ask_size")


@dataclass(frozen=True, slots=True)
class ContractList:
    """Where an exchange lists its contracts over REST: path and query. `read(body)`: the base units
    in one contract by the exchange's name of the market, of linear contracts alone, as one of an
    inverse contract is worth a varying number of coins. Raises errors.UnreadableMessage."""

    path: str
    read: Callable[[bytes], Mapping[str, Decimal]]


def in_coins(event: Sized, contract_size: Decimal) -> Sized:
    """The event with its sizes in base units: contracts times the base units in one contract.

    `contract_size`: of the list of contracts; on OKX ctVal times ctMult of a linear contract. The
    24 h volume of a ticker is in base units already. The product is exact.
    """
    if isinstance(event, TradeEvent):
        return replace(event, size=_times(event.size, contract_size))
    if isinstance(event, BookEvent):
        bids = [_level(level, contract_size) for level in event.bids]
        asks = [_level(level, contract_size) for level in event.asks]
        return replace(event, bids=bids, asks=asks)
    sizes = {
        name: _times(size, contract_size)
        for name in _TICKER_SIZES
        if (size := event.values.get(name)) is not None
    }
    return replace(event, values={**event.values, **sizes})


def _level(level: Level, contract_size: Decimal) -> Level:
    price, size = level
    return price, _times(size, contract_size)


def _times(size: str, contract_size: Decimal) -> str:
    return f"{_EXACT.multiply(Decimal(size), contract_size):f}"
