"""The types that collectors hand to their users: kinds of data, points, candles, configuration."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from texts.foreign import foreign_text

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMEFRAME: Final = re.compile(r"[1-9][0-9]{0,3}(?:s|m|h|d|w|M)", re.ASCII)
_NAME: Final = re.compile(r"[^/\s\x00-\x1f](?:[^/\x00-\x1f]{0,98}[^/\s\x00-\x1f])?")
_LONGEST_NUMBER: Final = 100  # characters; a longer one is no price or size


class DataValidationError(ValueError):
    """A value that market data cannot have; the text names the field, the value and the rule."""


class DataType(StrEnum):
    """The kinds of data that a collector may be asked for."""

    TICKER = "ticker"
    TRADE = "trade"
    ORDERBOOK = "orderbook"
    CANDLE = "candle"
    BALANCE = "balance"  # needs an account's keys


class CollectorStatus(StrEnum):
    """What a collector does; `error` and `unhealthy` ones go on trying."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
    UNHEALTHY = "unhealthy"  # connected, and silent for too long
    ERROR = "error"  # not connected, after a failed start or too many attempts
    STOPPING = "stopping"


@dataclass(slots=True)
class MarketDataPoint:
    """One piece of market data.

    `timestamp` may be given as a datetime, as UTC milliseconds or as an ISO 8601 text; it becomes a
    datetime in UTC. One without a zone is taken as UTC. Raises DataValidationError.
    """

    exchange: str
    symbol: str
    timestamp: datetime
    data_type: DataType
    data: dict[str, Any]

    def __post_init__(self) -> None:
        self.exchange = _text("exchange", self.exchange)
        self.symbol = _text("symbol", self.symbol)
        self.timestamp = read_time("timestamp", self.timestamp)
        if type(self.data_type) is not DataType:
            self.data_type = read_data_type(self.data_type)
        if not isinstance(self.data, Mapping):
            raise DataValidationError(f"data: {_shown(self.data)} is no mapping")


@dataclass(slots=True)
class OHLCVData:
    """One candle. Prices are in quote units, `volume` in base units, `turnover` in quote units.

    Numbers may be given as Decimal, int, float (by its shortest text) or text, and become Decimal;
    times as in MarketDataPoint. `timestamp` is the candle's opening. `close_time`, `turnover` and
    `closed` (the exchange's own flag) are None where the exchange does not tell them. Raises
    DataValidationError for what no candle can be.
    """

    symbol: str
    timeframe: str
    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades_count: int | None = None
    turnover: Decimal | None = None
    close_time: datetime | None = None
    closed: bool | None = None

    def __post_init__(self) -> None:
        self.symbol = _text("symbol", self.symbol)
        if not isinstance(self.timeframe, str) or not _TIMEFRAME.fullmatch(self.timeframe):
            raise DataValidationError(
                f"timeframe: {_shown(self.timeframe)} is not of the form 1m, 5m, 1h, 1d"
            )
        self.timestamp = read_time("timestamp", self.timestamp)
        for price in ("open", "high", "low", "close"):
            value = read_decimal(price, getattr(self, price))
            if value <= 0:
                raise DataValidationError(f"{price}: {value} is not above 0")
            setattr(self, price, value)
        for size in ("volume", "turnover"):
            if size == "volume" or self.turnover is not None:
                setattr(self, size, _size(size, getattr(self, size)))
        self._check_the_whole()

    def _check_the_whole(self) -> None:
        if self.high < max(self.open, self.close, self.low):
            raise DataValidationError(f"high: {self.high} is below another price of the candle")
        if self.low > min(self.open, self.close):
            raise DataValidationError(f"low: {self.low} is above another price of the candle")
        count = self.trades_count
        if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
            raise DataValidationError(f"trades_count: {_shown(count)} is no whole number")
        if count is not None and count < 0:
            raise DataValidationError(f"trades_count: {count} is below 0")
        if self.close_time is not None:
            self.close_time = read_time("close_time", self.close_time)
            if self.close_time <= self.timestamp:
                raise DataValidationError("close_time: is not after the candle's timestamp")
        if self.closed is not None and not isinstance(self.closed, bool):
            raise DataValidationError(f"closed: {_shown(self.closed)} is neither True nor False")


@dataclass(slots=True)
class CollectorConfig:
    """What a manager makes of a collector that is added with it.

    `symbols` and `data_types` replace the collector's own unless they are empty. Raises
    DataValidationError.
    """

    name: str
    exchange: str
    symbols: list[str]
    data_types: list[str]
    auto_restart: bool = True
    health_check_interval: float = 30.0
    enabled: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DataValidationError(
                f"name: {_shown(self.name)} must be 1 to 100 characters without / and line breaks"
            )
        self.exchange = _text("exchange", self.exchange)
        self.symbols = read_symbols(self.symbols)
        self.data_types = [read_data_type(word).value for word in _listed(self.data_types)]
        self.health_check_interval = read_seconds(
            "health_check_interval", self.health_check_interval
        )


def read_symbols(symbols: Iterable[str]) -> list[str]:
    """The symbols in their order, each once. Raises DataValidationError."""
    return list(dict.fromkeys(_text("symbol", symbol) for symbol in _listed(symbols)))


def read_symbol(symbol: str) -> str:
    """The symbol, if it is one. Raises DataValidationError."""
    return _text("symbol", symbol)


def read_data_type(word: object) -> DataType:
    """The data type of this name, such as "ticker". Raises DataValidationError."""
    try:
        return DataType(word)  # type: ignore[arg-type]  # anything else is no value of it
    except ValueError:
        known = ", ".join(DataType)
        raise DataValidationError(f"data type: {_shown(word)} is none of {known}") from None


def read_data_types(words: Iterable[object]) -> list[DataType]:
    """The data types in their order, each once. Raises DataValidationError."""
    return list(dict.fromkeys(read_data_type(word) for word in _listed(words)))


def read_seconds(field: str, value: object) -> float:
    """A finite number of seconds above 0. Raises DataValidationError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataValidationError(f"{field}: {_shown(value)} is no number of seconds")
    if not 0 < value < float("inf"):
        raise DataValidationError(f"{field}: {value} is not above 0, or has no end")
    return float(value)


def read_decimal(field: str, value: object) -> Decimal:
    """The number as Decimal, exact in its text. Raises DataValidationError."""
    if type(value) is Decimal:
        number = value
    else:
        if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
            raise DataValidationError(f"{field}: {_shown(value)} is no number")
        text = value if isinstance(value, str) else repr(value)
        if isinstance(value, Decimal):
            text = str(value)
        try:
            if len(text) > _LONGEST_NUMBER:
                raise InvalidOperation
            number = Decimal(text)
        except InvalidOperation:
            raise DataValidationError(f"{field}: {_shown(value)} is no number") from None
    if not number.is_finite():
        raise DataValidationError(f"{field}: {number} is not finite")
    return number


def read_time(field: str, value: object) -> datetime:
    """A datetime in UTC, of a datetime, UTC milliseconds or an ISO 8601 text.

    Raises DataValidationError.
    """
    if type(value) is int:
        try:
            return datetime.fromtimestamp(value / 1000, UTC)
        except (OverflowError, ValueError, OSError):
            raise DataValidationError(
                f"{field}: {_shown(value)} is no time in milliseconds"
            ) from None
    if isinstance(value, datetime):
        if value.tzinfo is UTC:
            return value
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, str) and not value.isdigit():
        try:
            return read_time(field, datetime.fromisoformat(value))
        except ValueError:
            raise DataValidationError(f"{field}: {_shown(value)} is no ISO 8601 time") from None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DataValidationError(
            f"{field}: {_shown(value)} is neither a datetime, UTC milliseconds nor ISO 8601"
        )
    try:
        return _EPOCH + timedelta(milliseconds=float(value))
    except (OverflowError, ValueError):
        raise DataValidationError(f"{field}: {_shown(value)} is no time in milliseconds") from None


def _size(field: str, value: object) -> Decimal:
    number = read_decimal(field, value)
    if number < 0:
        raise DataValidationError(f"{field}: {number} is below 0")
    return number


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataValidationError(f"{field}: {_shown(value)} is no text, or is blank")
    return value


def _listed(values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DataValidationError(f"{_shown(values)} must be a list, such as [{_shown(values)}]")
    return list(values)


def _shown(value: object) -> str:
    return foreign_text(repr(value), 80)
