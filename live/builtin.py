"""The built-in collectors, one class for each exchange, and `create_collector`."""

from collections.abc import Iterable
from typing import Any, Final

from live.data_types import DataValidationError
from live.exchange_collector import ExchangeCollector
from live.exchanges import STREAM_VENUES
from texts.foreign import foreign_text


class BinanceCollector(ExchangeCollector):
    """Binance USD-M futures. Order books begin with a snapshot over REST, 20 a minute at most."""

    VENUE = STREAM_VENUES["binance"]


class BybitCollector(ExchangeCollector):
    """Bybit v5 linear perpetuals."""

    VENUE = STREAM_VENUES["bybit"]


class OKXCollector(ExchangeCollector):
    """OKX v5 swaps and spot: BTC-USDT is the spot market, BTC-USDT-SWAP and BTCUSDT the
    perpetual."""

    VENUE = STREAM_VENUES["okx"]


_COLLECTORS: Final[tuple[type[ExchangeCollector], ...]] = (
    BinanceCollector,
    BybitCollector,
    OKXCollector,
)
COLLECTORS: Final = {collector.VENUE.exchange: collector for collector in _COLLECTORS}


def create_collector(exchange: str, symbols: Iterable[str], **options: Any) -> ExchangeCollector:
    """The built-in collector of an exchange; `options` are the parameters of ExchangeCollector.

    Raises DataValidationError for an exchange that has none.
    """
    collector = COLLECTORS.get(exchange.lower()) if isinstance(exchange, str) else None
    if collector is None:
        raise DataValidationError(
            f"exchange: {foreign_text(repr(exchange), 80)} has no built-in collector;"
            f" there are {', '.join(COLLECTORS)}"
        )
    return collector(symbols, **options)
