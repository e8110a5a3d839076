"""Decodes a JSON list entry by entry, so that an entry that cannot be read is left out alone.

A list is decoded as a whole where that works, which is fast. Else it is cut at the commas between
its entries: brackets and quotes are counted, nothing is decoded, so that nothing in one entry
(deep nesting, half a surrogate, a wrong type) can spoil the others.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from venues.numbers import shown

T = TypeVar("T")
Row = TypeVar("Row", bound=tuple[Any, ...])

# What decoding raises: besides msgspec's errors those of Python's own conversions and nesting.
DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
BOM: Final = b"\xef\xbb\xbf"


class Unreadable(Exception):
    """One row or entry cannot be read or cannot be; `time_ms` is its own, None if unknown, and so
    is `symbol`."""

    def __init__(self, reason: str, time_ms: int | None = None, symbol: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.time_ms = time_ms
        self.symbol = symbol


class Cut(NamedTuple):
    """A list found in a body, where to cut it, and the body with this list emptied."""

    text: bytes
    commas: Sequence[int]  # before the first entry, between two, and after the last
    envelope: bytes

    @property
    def length(self) -> int:
        """How many entries the list has."""
        return (
            len(self.commas) - 1 if self.text[self.commas[0] + 1 : self.commas[-1]].strip() else 0
        )

    @property
    def entries(self) -> list[bytes]:
        """The texts of the entries."""
        if not self.length:
            return []
        return [self.text[begin + 1 : end] for begin, end in pairwise(self.commas)]


def lenient(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A JSON decoder that accepts numbers in quotes."""
    return msgspec.json.Decoder(kind, strict=False)


class EntryDecoder(Generic[T]):
    """Decodes single entries of a list; gives the reason, as text, for one that it cannot read."""

    def __init__(self, kind: type[T], named: "Named | None" = None) -> None:
        self._one = lenient(kind)
        self._named = named or SYMBOL

    def __call__(self, texts: Iterable[bytes]) -> Iterator[T | Unreadable]:
        for text in texts:
            try:
                yield self._one.decode(text)
            except msgspec.ValidationError as error:
                yield Unreadable(str(error)[:100], symbol=self._named.symbol_in(text))
            except DECODE_ERRORS:
                sent = shown(text[:60].decode("utf-8", "replace"))
                yield Unreadable(f"not JSON: {sent}", symbol=self._named.symbol_in(text))


class Named:
    """Finds which contract an entry is about: `key` has the exchange's id, of which `symbol_of`
    makes our symbol."""

    def __init__(self, key: str, symbol_of: Callable[[str], str] = str) -> None:
        self._key = key
        self._decoder = msgspec.json.Decoder(dict[str, Any])
        self._found = re.compile(rb'"%b"\s*:\s*"([^"\\]{1,100})"' % key.encode())
        self._symbol_of = symbol_of

    def symbol_in(self, text: bytes) -> str | None:
        """Our symbol of it, None where that cannot be read."""
        try:
            native = self._decoder.decode(text).get(self._key)
        except DECODE_ERRORS:
            found = self._found.search(text)
            native = found[1].decode("utf-8", "replace") if found else None
        return self._symbol_of(native) if isinstance(native, str) else None


SYMBOL: Final = Named("symbol")


def read_each(
    rows: Iterable[T | Unreadable],
    read: Callable[[T], Row],
    leave_out: Callable[[Unreadable, Row | None], None],
) -> list[Row]:
    """What `read` makes of each row. One for which it raises Unreadable goes to `leave_out`, with
    the good row before it."""
    found: list[Row] = []
    for row in rows:
        try:
            if isinstance(row, Unreadable):
                raise row
            found.append(read(row))
        except Unreadable as error:
            leave_out(error, found[-1] if found else None)
    return found


def cut_list(body: bytes, key: str = "", *, last: bool = False) -> Cut | None:
    """Cuts the list that the body is, or the first (or last) one named `key`; None if it does not
    end."""
    start = 0
    if key:
        for found in re.finditer(rb'"%b"\s*:\s*(?=\[)' % key.encode(), body):
            start = found.end()
            if not last:
                break
        if not start:
            return None
    text = body[start:] if key else body.strip()
    if not text.startswith(b"["):
        return None
    # Neither an escaped backslash nor an escaped quote ends a string.
    signs = np.frombuffer(text.replace(b"\\\\", b"__").replace(b'\\"', b"__"), np.uint8)
    outside = ~np.logical_xor.accumulate(signs == ord('"'))
    folded = signs & 0xDF  # "[" and "{", "]" and "}", which differ in this bit alone
    steps = (folded == ord("[")).astype(np.int8) - (folded == ord("]")).astype(np.int8)
    depth = np.cumsum(steps * outside, dtype=np.int32)
    ends = np.flatnonzero(outside & (depth == 0))
    if not len(ends):
        return None
    end = int(ends[0])
    if not key and end != len(text) - 1:
        return None
    commas = np.flatnonzero((signs[:end] == ord(",")) & outside[:end] & (depth[:end] == 1))
    return Cut(text, [0, *commas.tolist(), end], b"%b[]%b" % (body[:start], text[end + 1 :]))
