"""The checks that the readers of all exchanges share: of candles, numbers, levels, names and times.

What passes them is in plain decimals: digits, and a point between digits. An exponent is written
out, with all its digits.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Final, NamedTuple

import msgspec

from live.errors import UnreadableMessage
from live.events import CandleEvent, Dropped, LeftOut, Level
from market.timeframes import MINUTE_MS, Timeframe
from texts.foreign import foreign_text
from venues.entries import DECODE_ERRORS
from venues.numbers import float_or_none, plain_decimal, shown
from venues.reading import excerpt, is_name

# 2017 to 2100: no perpetual traded before, and seconds or microseconds are not milliseconds.
_EARLIEST_MS: Final = 1_483_228_800_000
_LATEST_MS: Final = 4_102_444_800_000
Time = Annotated[int, msgspec.Meta(ge=_EARLIEST_MS, lt=_LATEST_MS)]
LONGEST_NAME: Final = 64
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Text = Annotated[str, msgspec.Meta(max_length=100)]  # a topic or channel: they are remembered
Id = Annotated[int, msgspec.Meta(ge=-1, lt=2**63 - 1)]
Interval = tuple[str, int]  # our name of a candle's size, its length in ms

MOST_ENTRIES: Final = 5_000  # of one message: no exchange has as many contracts
MOST_LEVELS: Final = 10_000  # of one side of one message: REST has 1000 at most
# A clock may be this much behind that of the candles.
_CLOCK_SLACK_MS: Final = 1_000
_NUMBER: Final = r"[0-9]{1,24}(?:\.[0-9]{1,24})?"
_SHORT: Final = 120  # characters of a candle's numbers, together
_DIGITS: Final = 40  # of a volume, which is summed exactly
# As an array of JSON the numbers of a candle are checked and read at once: 0.3 microseconds less
# than a pattern and six calls of float. JSON allows exponents, signs and blanks besides.
_read_six: Final = msgspec.json.Decoder(tuple[float, float, float, float, float, float]).decode
_POSITIVE: Final = re.compile(rf"(?![0.]+\Z){_NUMBER}")
_LEVELS: Final = re.compile(rf"(?:(?![0.]+,){_NUMBER},{_NUMBER},)*")
_SIGNED: Final = re.compile(rf"(?:-?{_NUMBER},)*")

INTERVALS: Final[Mapping[str, Interval]] = {
    "1m": ("1m", MINUTE_MS),
    "3m": ("3m", 3 * MINUTE_MS),
    **{timeframe.value: (timeframe.value, timeframe.interval_ms) for timeframe in Timeframe},
}


class BookLevel(msgspec.Struct, array_like=True, gc=False):
    """["16649.5","0.4",...]: what follows the size is not read."""

    price: str
    size: str


class Numbers(NamedTuple):
    """The numbers of a candle, as texts."""

    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str


# --- what is left out ----------------------------------------------------------------------------


def unreadable(text: str, symbol: str | None) -> LeftOut:
    """An entry that is in the exchange's format and cannot be read, or cannot be."""
    return _left_out(Dropped.UNREADABLE, text, symbol)


def unread_kind(kind: str, symbol: str | None = None) -> LeftOut:
    """A kind of message that nobody asked for."""
    return _left_out(Dropped.UNREAD_KIND, kind, symbol)


def other_product(symbol: str) -> LeftOut:
    """A row about a product that this exchange's tables do not cover."""
    return _left_out(Dropped.OTHER_PRODUCT, symbol, symbol)


def _left_out(cause: Dropped, text: str, symbol: str | None) -> LeftOut:
    is_usable = symbol is not None and len(symbol) <= LONGEST_NAME and usable(symbol)
    name = symbol if is_usable else None
    return LeftOut(cause, foreign_text(text), name)


def not_in_format(
    exchange: str, payload: bytes, error: Exception | None = None, symbol: str | None = None
) -> UnreadableMessage:
    """The UnreadableMessage for a payload as a whole."""
    if isinstance(error, msgspec.ValidationError):
        cause = f"unexpected message: {foreign_text(str(error), 100)}"
    elif error is not None:
        cause = "not JSON"
    else:
        cause = "unexpected message"
    return UnreadableMessage(f"{cause}: {excerpt(payload)}", exchange=exchange, symbol=symbol)


def why(error: Exception) -> str:
    """The reason of a failed decoding, for a LeftOut."""
    return str(error) if isinstance(error, msgspec.ValidationError) else "not JSON, or too deep"


_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def parts_of(exchange: str, array: msgspec.Raw | bytes) -> list[msgspec.Raw]:
    """The elements of an array, undecoded. Raises UnreadableMessage."""
    try:
        parts = _PARTS.decode(array)
    except DECODE_ERRORS as error:
        raise not_in_format(exchange, bytes(array)[:400], error) from None
    if len(parts) > MOST_ENTRIES:
        raise UnreadableMessage(f"{len(parts)} entries in one message", exchange=exchange)
    return parts


# --- candles -------------------------------------------------------------------------------------


def candle_event(
    symbol: str,
    interval: Interval,
    open_time_ms: int,
    event_time_ms: int,
    closed: bool,
    open_: str,
    high: str,
    low: str,
    close: str,
    volume: str,
    turnover: str,
    trades: int | None = None,
    taker_buy_volume: str = "",
    taker_buy_turnover: str = "",
) -> CandleEvent | LeftOut:
    """The candle, or why it cannot be: prices, grid, or a close before its end. The caller has
    checked the symbol."""
    timeframe, interval_ms = interval
    text = f"[{open_},{high},{low},{close},{volume},{turnover}]"
    try:
        first, top, bottom, last, _, _ = _read_six(text)
    except DECODE_ERRORS:
        is_plain = False
    else:
        is_plain = (
            len(text) < _SHORT
            and len(volume) <= _DIGITS
            and len(turnover) <= _DIGITS
            and "e" not in text
            and "E" not in text
            and "-" not in text
            and " " not in text
            and text.isprintable()
        )
    if not is_plain:
        numbers = _plain(Numbers(open_, high, low, close, volume, turnover))
        if isinstance(numbers, str):
            return unreadable(f"{timeframe} candle of {open_time_ms}: {numbers}", symbol)
        open_, high, low, close, volume, turnover = numbers
        bottom, first, last, top = map(float, (low, open_, close, high))
    if not (0 < bottom <= first <= top and bottom <= last <= top):
        fault = "impossible prices (high < low, or <= 0)"
    elif open_time_ms % interval_ms:
        fault = f"time off the grid of {interval_ms} ms"
    elif event_time_ms + _CLOCK_SLACK_MS < open_time_ms + (interval_ms if closed else 0):
        fault = f"{'closed' if closed else 'sent'} too early, at {event_time_ms}"
    else:
        return CandleEvent(
            symbol,
            timeframe,
            open_time_ms,
            event_time_ms,
            closed,
            open_,
            high,
            low,
            close,
            volume,
            turnover,
            trades,
            taker_buy_volume,
            taker_buy_turnover,
        )
    return unreadable(f"{timeframe} candle of {open_time_ms}: {fault}", symbol)


def _plain(numbers: Numbers) -> Numbers | str:
    """The numbers without exponents, or what is wrong with them."""
    plain = []
    for name, text in zip(Numbers._fields, numbers, strict=True):
        number = plain_decimal(text)
        if number is None:
            return f"{name} is not a number of at least 0: {shown(text)}"
        plain.append(number)
    return Numbers(*plain)


# --- other numbers, and names --------------------------------------------------------------------


@lru_cache(4096)
def usable(symbol: str) -> bool:
    """Whether this can be a market's name in keys, tables and addresses. The caller has seen to its
    length: it is remembered."""
    return is_name(symbol)


def is_time(time_ms: int) -> bool:
    """Whether this can be a time in ms."""
    return _EARLIEST_MS <= time_ms < _LATEST_MS


def positive(text: str) -> str | None:
    """The number in plain decimals; None if it is not one above 0."""
    if _POSITIVE.fullmatch(text):
        return text
    plain = plain_decimal(text)
    return plain if plain is not None and plain.strip("0.") else None


def levels_of(levels: Sequence[BookLevel]) -> list[Level] | str:
    """The levels of one side with numbers in plain decimals, or what is wrong with them."""
    if len(levels) > MOST_LEVELS:
        return f"{len(levels)} levels on one side"
    pairs = [(level.price, level.size) for level in levels]
    text = "".join([f"{price},{size}," for price, size in pairs])
    if _LEVELS.fullmatch(text) and text.count(",") == 2 * len(pairs):
        return pairs
    plain = []
    for price, size in pairs:
        level = positive(price), plain_decimal(size)
        if level[0] is None or level[1] is None:
            return f"impossible level: {shown(price)}, {shown(size)}"
        plain.append((level[0], level[1]))
    return plain


def ticker_values(values: dict[str, str]) -> dict[str, str] | str:
    """The fields that are told, in plain decimals, or what is wrong with one."""
    told = {name: text for name, text in values.items() if text}
    text = "".join([f"{value}," for value in told.values()])
    if _SIGNED.fullmatch(text) and text.count(",") == len(told):
        return told
    for name, value in told.items():
        sign = "-" if value.startswith("-") else ""
        number = plain_decimal(value.removeprefix("-"))
        if number is None or float_or_none(value) is None:
            return f"{name} is not a number: {shown(value)}"
        told[name] = f"{sign}{number}"
    return told
