"""One market as a CSV row: its columns, and the values that each accepts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from commands.errors import CoinsError
from database import CoinMetadata, CoinRecord
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from texts.printable import escape_of, escaped, unescaped

REQUIRED: Final = ("exchange", "symbol")
COLUMNS: Final = (
    *REQUIRED,
    *("base", "quote", "launched_ms", "active", "enabled", "turnover_24h"),
    *("first_seen_ms", "last_seen_ms", "native", "contract_size"),
)
_NAMES: Final = ("symbol", "base", "quote", "native")
# Also in full width, as some spreadsheets take them. The apostrophe is doubled by it.
_BEGINS_FORMULA: Final = "=+-@\uff1d\uff0b\uff0d\uff20'"
_SPACE: Final = escape_of(" ")
_TRUE: Final = ("true", "yes", "1")
_FALSE: Final = ("false", "no", "0")


def is_number_column(name: str) -> bool:
    """Whether a column holds a number of one timeframe: `4h.hurst`."""
    timeframe, dot, number = name.partition(".")
    return bool(dot and number) and timeframe in set(Timeframe)


def read_row(fields: Mapping[str, str], known: Mapping[str, CoinRecord], now_ms: int) -> CoinRecord:
    """Merges a row's fields into the market's known record, or a new one. Raises CoinsError."""
    given = {name: value.strip() for name, value in fields.items() if value.strip()}
    for name in _NAMES:
        if name in given:
            given[name] = _read_name(name, given[name])
    exchange, symbol = given.get("exchange", ""), given.get("symbol", "")
    if exchange not in set(Exchange) or not symbol:
        raise CoinsError(f"exchange must be one of {', '.join(Exchange)}, symbol not empty")
    record = known.get(f"{exchange}:{symbol}")
    if record is None:
        if "base" not in given or "quote" not in given:
            raise CoinsError(f"{exchange}:{symbol} is new and needs base and quote")
        market = Market(Exchange(exchange), symbol, given["base"], given["quote"])
        record = CoinRecord(market, True, True, None, now_ms, now_ms, {})

    def value(name: str, read: Callable[[str], Any], old: Any) -> Any:
        try:
            return read(given[name]) if name in given else old
        except ValueError as error:
            raise CoinsError(f"{name} must be {error}, not {given[name]!r}") from None

    market = replace(
        record.market,
        base=given.get("base", record.market.base),
        quote=given.get("quote", record.market.quote),
        launched_ms=value("launched_ms", _read_ms, record.market.launched_ms),
        native=given.get("native", record.market.native),
        contract_size=value("contract_size", _read_size, record.market.contract_size),
    )
    return CoinRecord(
        market,
        active=value("active", _read_flag, record.active),
        enabled=value("enabled", _read_flag, record.enabled),
        turnover_24h=value("turnover_24h", _read_number, record.turnover_24h),
        first_seen_ms=value("first_seen_ms", _read_ms, record.first_seen_ms),
        last_seen_ms=value("last_seen_ms", _read_ms, record.last_seen_ms),
        metadata=_metadata(given, value, record.metadata, now_ms),
    )


def _metadata(
    given: Mapping[str, str],
    value: Callable[[str, Callable[[str], Any], Any], Any],
    known: Mapping[Timeframe, CoinMetadata],
    now_ms: int,
) -> dict[Timeframe, CoinMetadata]:
    """The metadata of the timeframes that the row names, merged into the known values."""
    found: dict[Timeframe, CoinMetadata] = {}
    for timeframe in Timeframe:
        prefix = f"{timeframe}."
        stamp = f"{prefix}computed_at_ms"
        names = [name for name in given if name.startswith(prefix)]
        if names:
            older = known[timeframe].values if timeframe in known else {}
            numbers = {
                name.removeprefix(prefix): value(name, _read_number, None)
                for name in names
                if name != stamp
            }
            found[timeframe] = CoinMetadata({**older, **numbers}, value(stamp, _read_ms, now_ms))
    return found


def write_name(name: str) -> str:
    """A name as a cell that no spreadsheet takes for a formula, and no terminal for a command.

    An apostrophe precedes what would begin a formula, as spreadsheets themselves write it, and
    precedes an apostrophe too, so that `_read_name` takes away one and knows the name. Unprintable
    characters, semicolons (they part cells in some countries) and spaces at either end are escapes.
    """
    cell = escaped(name, also=";")
    inner = cell.strip(" ")
    if inner:
        before, _, after = cell.partition(inner)
        cell = f"{_SPACE * len(before)}{inner}{_SPACE * len(after)}"
    else:
        cell = _SPACE * len(cell)
    return f"'{cell}" if not cell or cell[0] in _BEGINS_FORMULA else cell


def _read_name(column: str, cell: str) -> str:
    if not cell.isprintable():
        raise CoinsError(f"{column} has unprintable characters: {cell!a}")
    try:
        name = unescaped(cell.removeprefix("'"))
    except ValueError as error:
        raise CoinsError(f"{column} {cell!r}: {error}") from None
    if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in name):
        raise CoinsError(f"{column} has a character that the database cannot store: {cell!r}")
    return name


def write_flag(value: bool) -> str:
    return "true" if value else "false"


def write_number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _read_flag(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError("true or false")
    return text.lower() in _TRUE


def _read_ms(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ValueError("a time in UTC milliseconds")
    return int(text)


def _read_size(text: str) -> float:
    size = _read_number(text)
    if size <= 0:
        raise ValueError("a number above 0")
    return size


def _read_number(text: str) -> float:
    try:
        number = float(text.replace("_", "?"))  # refuse 1_000, which only Python reads
    except ValueError:
        raise ValueError("a number") from None
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return number
