"""The rules of what a collector may be told: its markets, data types, timeframes and outputs."""

from collections.abc import Iterable
from typing import Final

from live.book_keeper import MOST_BOOKS
from live.data_types import DataType
from live.exchanges import STREAM_VENUES
from live.stream_venue import Channel, Topic
from texts.foreign import foreign_text
from venues.numbers import shown

DATA_TYPES: Final = tuple(kind.value for kind in DataType if kind is not DataType.BALANCE)
MOST_SYMBOLS: Final = 1_000  # more than any exchange has perpetuals
LONGEST_SYMBOL: Final = 64
DEEPEST_BOOK: Final = {name: venue.book.depth for name, venue in STREAM_VENUES.items()}
EXAMPLES: Final = {
    "binance": "BTCUSDT, BTC-USDT or BTC/USDT",
    "bybit": "BTCUSDT, BTC-USDT or BTC/USDT",
    "okx": "BTC-USDT (spot), BTC-USDT-SWAP or BTCUSDT (perpetual)",
}


def native_symbol(exchange: str, symbol: object) -> str:
    """The exchange's name of the market. Raises ValueError, which says what is allowed."""
    venue = STREAM_VENUES[exchange]
    how = f"write it as {EXAMPLES[exchange]}"
    if not isinstance(symbol, str) or not 0 < len(symbol) <= LONGEST_SYMBOL:
        raise ValueError(f"{told(symbol)} is not the name of a market: {how}")
    try:
        native = venue.symbol(symbol)
        venue.name(Topic(Channel.TICKER, native))
    except ValueError as error:
        text = str(error).removeprefix(f"{exchange}: ")
        raise ValueError(text if "write it as" in text else f"{text}; {how}") from None
    return native


def check_timeframe(exchange: str, timeframe: str) -> None:
    """Raises ValueError for a timeframe of candles that the exchange does not stream, with those
    that it does."""
    venue = STREAM_VENUES[exchange]
    venue.name(Topic(Channel.CANDLE, venue.heartbeat_symbol, timeframe))


def too_many(data_types: Iterable[str], symbols: int) -> str | None:
    """Why a collector of these data types cannot have so many symbols; None if it can."""
    if DataType.ORDERBOOK in data_types and symbols > MOST_BOOKS:
        return (
            f"there are {symbols}, and a collector keeps at most {MOST_BOOKS} order books:"
            " divide them among several collectors"
        )
    if symbols > MOST_SYMBOLS:
        return (
            f"there are {symbols}, and a collector has at most {MOST_SYMBOLS}: divide them among"
            " several collectors"
        )
    return None


def told(value: object) -> str:
    """A value of others, short and on one line."""
    return shown(value) if isinstance(value, str) else foreign_text(repr(value), 80)
