"""The rows of the live tables that data points become, with every value checked."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from database import BookRow, LiveRow, TickerRow, TradeRow
from live.data_types import DataType, DataValidationError, MarketDataPoint, read_decimal
from live.outputs.plain_data import encode, native_symbol, number_text, plain, time_ms
from stores.cold.names import storable

FAR_MS: Final = 86_400_000  # a time further from ours is no live one
_LONGEST_NAME: Final = 100  # names are part of an index entry, which PostgreSQL limits to 2.7 KB
_MOST_LEVELS: Final = 5000  # of a book, each side
_LONGEST_OTHER: Final = 100_000  # characters of what a ticker tells beside the columns
_BIGINT: Final = 2**63
_TOLD: Final = TickerRow._fields[4:]


def row_of(point: MarketDataPoint, now_ms: int) -> LiveRow:
    """The point's row. Raises ValueError for what cannot be stored; the text names the field."""
    moment_ms = time_ms(point.timestamp)
    if abs(moment_ms - now_ms) > FAR_MS:
        raise DataValidationError(f"time: {point.timestamp.isoformat()} is more than a day off")
    key = (
        _name("exchange", point.exchange),
        _name("symbol", native_symbol(point)),
        moment_ms,
    )
    if point.data_type is DataType.TRADE:
        return _trade(key, point.data)
    if point.data_type is DataType.TICKER:
        return _ticker(key, point.data)
    if point.data_type is DataType.ORDERBOOK:
        return _book(key, point.data)
    raise DataValidationError(f"data type: {point.data_type.value} has no table")


_Key = tuple[str, str, int]


def _trade(key: _Key, data: Mapping[str, Any]) -> TradeRow:
    side = data.get("side")
    return TradeRow(
        *key,
        _name("trade_id", str(_told("trade_id", data))),
        _number("price", data),
        _number("size", data),
        None if side is None else _name("side", str(side)),
    )


def _ticker(key: _Key, data: Mapping[str, Any]) -> TickerRow:
    told = [_number(name, data) if data.get(name) is not None else None for name in _TOLD]
    other = {name: value for name, value in data.items() if name not in _TOLD and name != _OWN_NAME}
    text = encode(plain(other)).decode()
    if len(text) > _LONGEST_OTHER:
        raise DataValidationError(f"data: {len(text)} characters, at most {_LONGEST_OTHER}")
    return TickerRow._make((*key, text, *told))


def _book(key: _Key, data: Mapping[str, Any]) -> BookRow:
    last_id = data.get("last_id", -1)
    if not isinstance(last_id, int) or not -_BIGINT <= last_id < _BIGINT:
        raise DataValidationError("last_id: is no whole number of 64 bits")
    return BookRow(*key, last_id, _side("bids", data), _side("asks", data))


def _side(name: str, data: Mapping[str, Any]) -> str:
    levels = _told(name, data)
    if not isinstance(levels, Sequence) or len(levels) > _MOST_LEVELS:
        raise DataValidationError(f"{name}: is no list of at most {_MOST_LEVELS} levels")
    try:
        texts = [
            f"{{{number_text(read_decimal(name, price))},{number_text(read_decimal(name, size))}}}"
            for price, size in levels
        ]
    except (TypeError, ValueError) as error:
        raise DataValidationError(f"{name}: not all levels are (price, size): {error}") from None
    return f"{{{','.join(texts)}}}"


def _number(name: str, data: Mapping[str, Any]) -> str:
    return number_text(read_decimal(name, _told(name, data)))


def _told(name: str, data: Mapping[str, Any]) -> Any:
    if data.get(name) is None:
        raise DataValidationError(f"{name}: is missing")
    return data[name]


def _name(field: str, text: str) -> str:
    if not text or len(text) > _LONGEST_NAME:
        raise DataValidationError(f"{field}: must have 1 to {_LONGEST_NAME} characters")
    if storable(text, "UTF8") != text:
        raise DataValidationError(f"{field}: has characters that cannot be stored")
    return text


_OWN_NAME: Final = "exchange_symbol"
