"""What the readers of all exchanges' answers share: shapes, checks of one value, one error.

A reader decodes and renames what one exchange says; whether it can be what was asked for is
api_parser's to judge.
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
# A number whose form varies: text or a JSON number; an empty text or null where it does not apply.
Loose = str | int | float | None
TimeMs = Annotated[int, msgspec.Meta(ge=-(10**15), lt=10**15)]  # until the year 33658


class AnswerPage(NamedTuple, Generic[T]):
    """What one answer held: `rows` ascending and unique; the rest is what paging goes by.

    `first_ms`, `last_ms` and `sent` are of everything that was sent, rows left out included.
    """

    rows: Sequence[T]
    first_ms: int | None = None
    last_ms: int | None = None
    sent: int = 0
    cursor: str = ""


class Instrument(NamedTuple):
    """A contract worth collecting; the interval where the list of contracts says it."""

    market: Market
    funding_interval_hours: int | None


class Ticker(NamedTuple):
    """What a list says of one contract, by the exchange's own id; None: this list does not say."""

    native: str
    turnover_24h: float | None = None
    next_funding_ms: int | None = None
    funding_interval_hours: int | None = None


class Settlement(NamedTuple):
    """One row of a funding history; not `regular`: an extra charge."""

    native: str
    time_ms: int
    rate: float
    regular: bool


class ErrorBody(NamedTuple):
    """The code and the text of an answer that refuses."""

    code: str
    message: str


class PayloadErrors:
    """Makes the BadPayload of one answer."""

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


def lax(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder that takes numbers in quotes for numbers, too."""
    return msgspec.json.Decoder(kind, strict=False)


def excerpt(body: bytes, length: int = 80) -> str:
    """The beginning of a body for messages: printable, on one line; 'empty' for none."""
    text = body[: 4 * length].decode("utf-8", "replace")
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())[:length] or "empty"


# --- whole columns -------------------------------------------------------------------------------


def candles_of(columns: Sequence[Sequence[Any]], fail: PayloadErrors) -> Candles:
    """Candles of the times and of a candle's columns, decimal texts of volume and turnover.

    Raises BadPayload for a text that is no plain decimal.
    """
    if not columns:
        return Candles.of(())
    times, *values = columns
    for name in ("volume", "turnover"):
        check_decimals(values[Candles.names.index(name)], times, name, fail)
    return Candles.from_columns(times, values)


def snapshots(times: Sequence[int], values: Sequence[float]) -> TimedValues:
    """One number at each time, in the order given."""
    return TimedValues(np.array(times, np.int64), np.array(values, np.float64)[:, None])


def checked_settlements(rows: Iterable[Settlement], fail: PayloadErrors) -> list[Settlement]:
    """The rows; raises BadPayload for a rate or a time that no settlement has."""
    settlements = list(rows)
    for row in settlements:
        if not (row.time_ms > 0 and -10 < row.rate < 10):
            raise fail(f"impossible funding rate or time: {row.rate} at {row.time_ms}")
    return settlements


# One match over a whole column: a match for each value costs more than decoding it.
_DECIMALS: Final = re.compile(r"(?:[0-9]{1,40}(?:\.[0-9]{1,40})?,)*+")


def check_decimals(
    texts: Sequence[str], times: Sequence[int], what: str, fail: PayloadErrors
) -> None:
    """Raises unless every text is a plain non-negative decimal, without sign or exponent."""
    column = ",".join(texts) + ","
    if not _DECIMALS.fullmatch(column) or column.count(",") != len(texts):
        pairs = zip(texts, times, strict=True)
        bad = next(
            (f"{text!r:.50} at {time_ms}" for text, time_ms in pairs if not is_decimal(text)), ""
        )
        raise fail(f"{what} is no plain decimal number: {bad}")


# --- single values -------------------------------------------------------------------------------


def is_decimal(text: str) -> bool:
    return "," not in text and _DECIMALS.fullmatch(text + ",") is not None


def number(value: Loose) -> float | None:
    """None where it does not apply."""
    text = str(value)
    return float(text) if is_decimal(text) else None


def whole(value: Loose) -> int:
    """0 where it does not apply."""
    text = str(value)
    return int(text) if text.isdecimal() else 0


def settlement_hours(hours: int | None) -> int | None:
    """An interval at which settlements can fall on the same hours of every day, else None."""
    return hours if hours and 0 < hours <= 24 and 24 % hours == 0 else None
