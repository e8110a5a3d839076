"""Types and helpers that the parsers of all exchanges share: pages, value checks, errors.

An exchange's parser decodes its answers; data_collector/api_parser.py validates the values.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from market.candles import Candles
from market.markets import Exchange, Market
from market.rows import TimedValues
from venues.errors import BadPayload

T = TypeVar("T")
# A number of varying form: text or JSON number; empty or null where it does not apply.
Loose = str | int | float | None
TimeMs = Annotated[int, msgspec.Meta(ge=-(10**15), lt=10**15)]  # until the year 33658


class AnswerPage(NamedTuple, Generic[T]):
    """The content of one answer: `rows` ascending and unique, and what paging needs.

    `first_ms`, `last_ms` and `sent` (a count) include rows that were sent but left out.
    """

    rows: Sequence[T]
    first_ms: int | None = None
    last_ms: int | None = None
    sent: int = 0
    cursor: str = ""


class Instrument(NamedTuple):
    """A contract to collect, and its funding interval if the list of contracts gives it."""

    market: Market
    funding_interval_hours: int | None


class Ticker(NamedTuple):
    """One contract's entry in a list, by the exchange's own id; None: not in this list."""

    native: str
    turnover_24h: float | None = None
    next_funding_ms: int | None = None
    funding_interval_hours: int | None = None


class Settlement(NamedTuple):
    """One row of a funding history; `regular` is False for an extra charge."""

    native: str
    time_ms: int
    rate: float
    regular: bool


class ErrorBody(NamedTuple):
    """The code and message of an error answer."""

    code: str
    message: str


class PayloadErrors:
    """Makes BadPayload errors for one answer; call it with the cause."""

    def __init__(self, exchange: Exchange, endpoint: str, symbol: str | None) -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self._symbol = symbol

    def __call__(self, cause: str) -> BadPayload:
        return BadPayload(
            cause, exchange=self._exchange, endpoint=self._endpoint, market=self._symbol
        )

    def decode(self, decoder: msgspec.json.Decoder[T], body: bytes) -> T:
        """The decoded body; raises BadPayload."""
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self(f"unexpected answer: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self(f"not JSON: {excerpt(body)}") from None


def lenient(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A JSON decoder that accepts numbers in quotes."""
    return msgspec.json.Decoder(kind, strict=False)


def excerpt(body: bytes, length: int = 80) -> str:
    """The start of a body for messages: printable, on one line; 'empty' if there is nothing."""
    text = body[: 4 * length].decode("utf-8", "replace")
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())[:length] or "empty"


# --- whole columns -------------------------------------------------------------------------------


def candles_from_columns(columns: Sequence[Sequence[Any]], fail: PayloadErrors) -> Candles:
    """Candles from the times and a candle's columns, volume and turnover as decimal texts.

    Raises BadPayload for a text that is not a plain decimal.
    """
    if not columns:
        return Candles.of(())
    times, *values = columns
    for name in ("volume", "turnover"):
        check_decimals(values[Candles.names.index(name)], times, name, fail)
    return Candles.from_columns(times, values)


def timed_values(times: Sequence[int], values: Sequence[float]) -> TimedValues:
    """A series of one number per time, in the given order."""
    return TimedValues(np.array(times, np.int64), np.array(values, np.float64)[:, None])


def checked_settlements(rows: Iterable[Settlement], fail: PayloadErrors) -> list[Settlement]:
    """The rows; raises BadPayload for an impossible rate or time."""
    settlements = list(rows)
    for row in settlements:
        if not (row.time_ms > 0 and -10 < row.rate < 10):
            raise fail(f"impossible funding rate or time: {row.rate} at {row.time_ms}")
    return settlements


# Matches a whole column at once: a match per value would cost more than decoding.
_DECIMALS: Final = re.compile(r"(?:[0-9]{1,40}(?:\.[0-9]{1,40})?,)*+")


def check_decimals(
    texts: Sequence[str], times: Sequence[int], what: str, fail: PayloadErrors
) -> None:
    """Raises BadPayload unless every text is a non-negative decimal without sign or exponent."""
    column = ",".join(texts) + ","
    if not _DECIMALS.fullmatch(column) or column.count(",") != len(texts):
        pairs = zip(texts, times, strict=True)
        bad = next(
            (f"{text!r:.50} at {time_ms}" for text, time_ms in pairs if not is_decimal(text)), ""
        )
        raise fail(f"{what} is not a plain decimal number: {bad}")


# --- single values -------------------------------------------------------------------------------


def is_decimal(text: str) -> bool:
    return "," not in text and _DECIMALS.fullmatch(text + ",") is not None


def float_or_none(value: Loose) -> float | None:
    """The number, or None for anything but a plain decimal."""
    text = str(value)
    return float(text) if is_decimal(text) else None


def int_or_0(value: Loose) -> int:
    """The integer, or 0 for anything but decimal digits."""
    text = str(value)
    return int(text) if text.isdecimal() else 0


def funding_interval(hours: int | None) -> int | None:
    """`hours` if it divides a day, as a funding interval must, else None."""
    return hours if hours and 0 < hours <= 24 and 24 % hours == 0 else None
