"""Decimal texts of one column, and the whole numbers they stand for: what sums are made of that
must equal the exchange's decimals. A text of an answer is cut only when somebody asks for it."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, overload

import msgspec
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Lines = slice | npt.NDArray[np.intp]

# Of a text of 15 digits and a point: all its digits are recovered from its float64 (DBL_DIG of
# IEEE 754).
SHORT: Final = 16
_DOUBLED: Final = (1, 2, 4, 8, 1)  # add up to SHORT
_MOST_UNITS: Final = 18  # digits that fit int64, and so do some of their sums
_TENS: Final = 10 ** np.arange(_MOST_UNITS + 1, dtype=np.uint64)  # 19 digits fit, too


class Cells:
    """The text `[[1,2.50],[3,4]]` of a matrix of plain numbers, `width` in each row."""

    def __init__(self, text: bytes, width: int, *, reverse: bool = False) -> None:
        self._text = text
        self._width = width
        self._reverse = reverse  # the last row of the text counts as the first

    def column(self, column: int) -> list[str]:
        cells = self._text[2:-2].replace(b"],[", b",").decode().split(",")
        return self._in_order(cells[column :: self._width])

    def are_short(self, column: int) -> bool:
        """Whether no number of the column is longer than SHORT."""
        return self._all_short or int(self._lengths(column)[1].max()) <= SHORT

    def units(self, column: int) -> tuple[Integers, int] | None:
        """The column as whole numbers of one unit, and how many digits that has behind the
        point; None where they have too many digits for int64. Not for the first column."""
        ends, lengths = self._lengths(column)
        longest = int(lengths.max())
        if longest > _MOST_UNITS + 1:
            return None
        # A line for each number, aligned at its end; in it, what belongs to the number.
        places = np.arange(longest, 0, -1)
        signs = self._bytes[ends[:, None] - places]
        held = places <= lengths[:, None]
        points = held & (signs == ord("."))
        digits = np.where(held & ~points, signs - np.uint8(ord("0")), 0)
        behind = np.where(points.any(axis=1), longest - 1 - points.argmax(axis=1), -1)
        if longest > _MOST_UNITS and (behind < 0).any():
            return None
        # With a 0 in the place of the point.
        spread = digits.astype(np.uint64) @ _TENS[longest - 1 :: -1]
        fraction = np.maximum(behind, 0)
        unit = _TENS[fraction]
        whole = np.where(behind < 0, spread, spread // unit // _TENS[1] * unit + spread % unit)
        most = int(fraction.max())
        padding = _TENS[most - fraction]
        if float((whole.astype(np.float64) * padding).max()) >= 10.0**_MOST_UNITS:
            return None
        return self._in_order((whole * padding).astype(np.int64)), most

    @cached_property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self._text, np.uint8)

    @cached_property
    def _all_short(self) -> bool:
        comma_within = self._bytes == ord(",")
        for reach in _DOUBLED:  # within 1, 2, 4, 8, 16 and then SHORT + 1 bytes
            comma_within = comma_within[reach:] | comma_within[:-reach]
        return bool(comma_within.all())

    @cached_property
    def _commas(self) -> npt.NDArray[np.intp]:
        """One after each number; after the last of a row, one behind the bracket."""
        return np.append(np.flatnonzero(self._bytes == ord(",")), len(self._text) - 1)

    def _lengths(self, column: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Where the numbers of the column end, and how long they are."""
        ends = self._commas[column :: self._width] - (column == self._width - 1)
        return ends, ends - self._commas[column - 1 :: self._width][: len(ends)] - 1

    @overload
    def _in_order(self, values: list[str]) -> list[str]: ...
    @overload
    def _in_order(self, values: Integers) -> Integers: ...
    def _in_order(self, values: list[str] | Integers) -> list[str] | Integers:
        return values[::-1] if self._reverse else values


class Texts(Sequence[str]):
    """The texts of one column of cells, or of some lines of it."""

    __slots__ = ("_cells", "_column", "_length", "_lines")

    def __init__(self, cells: Cells, column: int, length: int, lines: Lines = slice(None)) -> None:
        self._cells = cells
        self._column = column
        self._length = length
        self._lines = lines

    def taken(self, lines: Lines) -> "Texts":
        chosen = np.arange(self._length)[lines]
        return Texts(self._cells, self._column, len(chosen), self._indices()[chosen])

    def all(self) -> list[str]:
        texts = self._cells.column(self._column)
        if isinstance(self._lines, slice):
            return texts[self._lines]
        return [texts[index] for index in self._lines.tolist()]

    def is_short(self) -> bool:
        return self._cells.are_short(self._column)

    def units(self) -> tuple[Integers, int] | None:
        found = self._cells.units(self._column)
        return found and (found[0][self._lines], found[1])

    def _indices(self) -> npt.NDArray[np.intp]:
        return np.arange(self._length) if isinstance(self._lines, slice) else self._lines

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self.all()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


def taken(texts: Sequence[str], lines: Lines) -> Sequence[str]:
    """The texts of some lines."""
    if isinstance(texts, Texts):
        return texts.taken(lines)
    if isinstance(lines, slice):
        return texts[lines]
    return [texts[index] for index in lines.tolist()]


def are_short(texts: Sequence[str]) -> bool:
    """Whether all digits of each text are recovered from its float64."""
    return texts.is_short() if isinstance(texts, Texts) else max(map(len, texts)) <= SHORT


def whole_units(texts: Sequence[str]) -> tuple[Integers | list[int], int]:
    """Plain decimals as whole numbers of one unit, and how many units make 1."""
    if isinstance(texts, Texts):
        found = texts.units()
        if found is not None:
            return found[0], 10 ** found[1]
        texts = texts.all()
    decimals = max(map(_decimals, texts))
    parts = (text.partition(".") for text in texts)
    return [int(whole + part.ljust(decimals, "0")) for whole, _, part in parts], 10**decimals


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


_FLOATS: Final = msgspec.json.Decoder(list[float])


def floats(texts: Sequence[str]) -> Sequence[float]:
    """float() of each text. As one JSON array they are read four times as fast, to the bit."""
    try:
        return _FLOATS.decode(f"[{','.join(texts)}]")
    except msgspec.DecodeError:  # a form that JSON does not have, such as "5."
        return list(map(float, texts))
