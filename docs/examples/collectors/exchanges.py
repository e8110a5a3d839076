"""Collectors named after exchanges, here of the tiny local one, and a function that makes them.

`perpcache.live` has OKXCollector, BinanceCollector, BybitCollector and create_collector for the
real exchanges; with those imported in their place, the examples that use these collect from there.
"""

from collections.abc import Iterable
from typing import Any

from docs.examples.collectors.local_exchange import LocalExchangeCollector
from perpcache.live import BaseDataCollector, DataType

BOTH = (DataType.TICKER, DataType.TRADE)


class OKXCollector(LocalExchangeCollector):
    def __init__(self, symbols: Iterable[str], **options: Any) -> None:
        super().__init__("okx", symbols, BOTH, **options)


class BinanceCollector(LocalExchangeCollector):
    def __init__(self, symbols: Iterable[str], **options: Any) -> None:
        super().__init__("binance", symbols, BOTH, **options)


def create_collector(exchange: str, symbols: Iterable[str]) -> BaseDataCollector:
    """A collector of tickers and trades of any exchange."""
    return LocalExchangeCollector(exchange, symbols, BOTH)
