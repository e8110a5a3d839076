"""Types and helpers that the parsers of all exchanges share: pages, value checks, errors.

An exchange's parser decodes its answers; data_collector/api_parser.py validates the values.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from market.columns import TIME
from market.left_out import LeftOut
from market.markets import Exchange, Market
from market.rows import TimedValues
from market.unread_entries import CANNOT_BE_READ, NOT_CLEAR, UNUSABLE_NAME, UnreadEntry
from texts.foreign import LONGEST_TEXT, foreign_text
from venues.entries import BOM, DECODE_ERRORS, Cut, EntryDecoder, Unreadable, cut_list, lenient
from venues.errors import BadPayload
from venues.numbers import TIME_LIMIT_MS, Loose, float_or_none, shown, whole_number

T = TypeVar("T")
TimeMs = Annotated[int, msgspec.Meta(gt=-TIME_LIMIT_MS, lt=TIME_LIMIT_MS)]
# Entries of one list: no exchange has as many contracts, or sends as many rows.
MOST_ENTRIES: Final = 20_000
MOST_ROWS: Final = 3_000
_NAMED: Final = 10  # entries whose names are shown when they are skipped
LONGEST_CODE: Final = 40  # characters of an error's code
_LONGEST_NAME: Final = 64
_NOT_IN_NAMES: Final = frozenset('/:,"\\')  # they separate keys, paths, CSV cells and lists


class AnswerPage(NamedTuple, Generic[T]):
    """The content of one answer: `rows` ascending and unique, and what paging needs.

    `first_ms`, `last_ms` and `sent` (a count) include rows that were sent but left out.
    `unread`: entries of a list of contracts that cannot be read, as far as they tell their symbol.
    `left_out`: invalid rows; `disputed`: instants with two different rows, also left out.
    """

    rows: Sequence[T]
    first_ms: int | None = None
    last_ms: int | None = None
    sent: int = 0
    cursor: str = ""
    left_out: Sequence[LeftOut] = ()
    disputed: Sequence[int] = ()
    unread: Sequence[UnreadEntry] = ()


class Instrument(NamedTuple):
    """A contract to collect, and its funding interval if the list of contracts gives it."""

    market: Market
    funding_interval_hours: int | None


class Maintenance(NamedTuple):
    """An exchange's own word that it is being maintained. `end_ms`: when that is expected to end, 0
    if it is not told."""

    title: str
    end_ms: int


class Ticker(NamedTuple):
    """One contract's entry in a list, by the exchange's own id; None: not in this list."""

    native: str
    turnover_24h: float | None = None
    next_funding_ms: int | None = None
    funding_interval_hours: int | None = None


class Settlement(NamedTuple):
    """One row of a funding history; `regular` is False for an extra charge."""

    time_ms: int
    native: str
    rate: float
    regular: bool


class ErrorBody(NamedTuple):
    """The code and message of an error answer."""

    code: str
    message: str


class AnswerFaults:
    """What is wrong with one answer: makes the BadPayload of the whole (call it with the cause),
    and collects what alone is left out: rows of a history, entries of a list."""

    def __init__(self, exchange: Exchange, endpoint: str, symbol: str | None) -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self._symbol = symbol
        self.left_out: list[LeftOut] = []
        self.skipped: list[str] = []
        self.unread: list[UnreadEntry] = []  # those skipped entries that tell their symbol

    def __call__(self, cause: str) -> BadPayload:
        return BadPayload(
            cause, exchange=self._exchange, endpoint=self._endpoint, market=self._symbol
        )

    def leave_out(self, error: Unreadable, before: tuple[Any, ...] | None = None) -> None:
        """Leaves out one row; the row before places one whose own time cannot be read."""
        if error.time_ms is not None:
            self.left_out.append(LeftOut(error.time_ms, error.reason))
        else:
            time_ms = before[TIME] if before is not None else 0
            self.left_out.append(LeftOut(time_ms, error.reason, after=True))

    def skip(self, error: Unreadable, _: object = None) -> None:
        """Leaves out one entry of a list of contracts."""
        self.skipped.append(error.reason)
        if error.symbol is not None:
            self.unread.append(UnreadEntry(usable_name(error.symbol), CANNOT_BE_READ))

    def readable(self, entries: Iterable[T | Unreadable]) -> list[T]:
        """The entries that can be read; the others are skipped. Raises BadPayload if none can."""
        found: list[T] = []
        for entry in entries:
            if isinstance(entry, Unreadable):
                self.skip(entry)
            else:
                found.append(entry)
        if self.skipped and not found:
            count, first = len(self.skipped), self.skipped[0]
            raise self(f"unexpected answer: none of {count} entries can be read: {first}")
        return found

    def is_to_collect(
        self,
        symbol: str,
        base: str | None,
        *conditions: tuple[str | None, Collection[str | None]],
    ) -> bool:
        """Whether a contract meets the conditions, each a text and those that are wanted, and has
        usable names. An entry that is blank or untidy where it should say so, or that has none,
        is skipped: it may still be about a contract to collect."""
        why, says_ours = None, False
        for text, wanted in conditions:
            if text in wanted:
                says_ours = says_ours or bool(text)
            else:
                if text and text.isprintable() and text == text.strip():
                    return False
                why = NOT_CLEAR
        if why is None:
            if is_name(symbol) and is_name(base):
                return True
            why = UNUSABLE_NAME
        few = len(self.skipped) < _NAMED  # there may be thousands
        self.skipped.append(f"{why}: {shown(symbol)}, {shown(base)}" if few else why)
        self.unread.append(UnreadEntry(usable_name(symbol), why, expected=says_ours))
        return False

    def decode(self, decoder: msgspec.json.Decoder[T], body: bytes) -> T:
        """The decoded body; raises BadPayload."""
        try:
            return decoder.decode(body.removeprefix(BOM))
        except msgspec.ValidationError as error:
            raise self(f"unexpected answer: {error}"[:200]) from None
        except DECODE_ERRORS:
            raise self(f"not JSON: {excerpt(body)}") from None

    def cut(self, body: bytes, key: str = "", *, most: int = MOST_ENTRIES) -> Cut:
        """The list cut into its entries; raises BadPayload if there is none or too long a one."""
        cut = cut_list(body.removeprefix(BOM), key)
        if cut is None:
            raise self(f"unexpected answer, or not JSON: no list in {excerpt(body)}")
        self.check_length(cut.length, most)
        return cut

    def check_length(self, entries: int, most: int) -> None:
        """Raises BadPayload if a list has more entries than any exchange sends."""
        if entries > most:
            raise self(f"unexpected answer: {entries} entries, more than {most}")


class ListDecoder(Generic[T]):
    """Decodes an answer's list; entry by entry where it cannot be decoded as a whole.

    `key`: the list's name in the answer; none if the answer is the list.
    """

    def __init__(self, kind: type[T], key: str = "") -> None:
        self._key = key
        self._whole = lenient(list[kind])  # type: ignore[valid-type]
        self._one = EntryDecoder(kind)

    def __call__(
        self, body: bytes, faults: AnswerFaults, most: int
    ) -> Sequence[T | Unreadable] | Iterator[T | Unreadable]:
        """The entries, and for each that cannot be read the reason. Raises BadPayload."""
        if not self._key:
            try:
                entries = self._whole.decode(body)
            except DECODE_ERRORS:
                pass
            else:
                faults.check_length(len(entries), most)
                return entries
        return self._one(faults.cut(body, self._key, most=most).entries)

    def readable(self, body: bytes, faults: AnswerFaults) -> list[T]:
        """The entries of a list of contracts that can be read; the others are skipped."""
        return faults.readable(self(body, faults, MOST_ENTRIES))


def excerpt(body: bytes, length: int = 80) -> str:
    """The start of a body for messages: printable, on one line; 'empty' if there is nothing."""
    text = foreign_text(body[: 4 * length].decode("utf-8", "replace"))
    return text[:length] or "empty"


def decoded_or_none(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """The decoded body, None if it is something else."""
    try:
        return decoder.decode(body.removeprefix(BOM))
    except DECODE_ERRORS:
        return None


# --- values of rows ------------------------------------------------------------------------------


def row_time(value: Loose) -> int:
    """The time of a row in ms. Raises Unreadable."""
    time_ms = whole_number(value)
    if time_ms is None or not 0 < time_ms < TIME_LIMIT_MS:
        raise Unreadable(f"its time cannot be read: {shown(value)}")
    return time_ms


def row_number(name: str, value: Loose, time_ms: int) -> float:
    """A number of the row at `time_ms`. Raises Unreadable."""
    number = float_or_none(value)
    if number is None:
        raise Unreadable(f"{name} is not a number: {shown(value)}", time_ms)
    return number


def turnover(value: Loose) -> float | None:
    """A turnover, None where it is blank or negative."""
    number = float_or_none(value)
    return number if number is not None and number >= 0 else None


def timed_values(times: Sequence[int], values: Sequence[float]) -> TimedValues:
    """A series of one number per time, in the given order."""
    return TimedValues(np.array(times, np.int64), np.array(values, np.float64)[:, None])


def is_name(text: str | None) -> bool:
    """Whether this can be a contract's or a coin's name in keys, tables and addresses."""
    return (
        text is not None
        and 0 < len(text) <= _LONGEST_NAME
        and text.isprintable()
        and " " not in text
        and _NOT_IN_NAMES.isdisjoint(text)
    )


def usable_name(text: str) -> str:
    """The name without blanks and unprintable characters; as sent, cut, if that is none either."""
    if is_name(text):
        return text
    start = text[:LONGEST_TEXT]
    name = "".join(sign for sign in start if sign.isprintable() and sign != " ")
    return name if is_name(name) else start
