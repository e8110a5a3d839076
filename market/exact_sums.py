"""The exchanges' decimal texts of volumes, and the integers they stand for, for exact sums.

A text is cut out of the exchange's answer only on demand. documents/building.py writes the numbers
of a document.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, overload

import msgspec
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Lines = slice | npt.NDArray[np.intp]

# Length of 15 digits and a point: float64 recovers all 15 digits (DBL_DIG of IEEE 754).
SHORT: Final = 16
_DOUBLED: Final = (1, 2, 4, 8, 1)  # add up to SHORT
_INT64_DIGITS: Final = 18  # every integer of this many digits fits int64


class Cells:
    """The text `[[1,2.50],[3,4]]` of a matrix of plain numbers, `width` in each row.

    Methods take the index of a column other than the first, which is the time.
    """

    def __init__(self, text: bytes, width: int, *, reverse: bool = False) -> None:
        self._text = text
        self._width = width
        self._reverse = reverse  # the text has its rows newest first

    def column(self, column: int) -> list[str]:
        begins, ends = self._spans(column)
        text = self._text.decode()  # ASCII: byte offsets are character offsets
        spans = zip(begins.tolist(), ends.tolist(), strict=True)
        texts = [text[begin:end] for begin, end in spans]
        return texts[::-1] if self._reverse else texts

    def are_short(self, column: int) -> bool:
        """Whether every number of the column has at most SHORT characters."""
        if self._all_short:
            return True
        begins, ends = self._spans(column)
        return int((ends - begins).max()) <= SHORT

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
        """Index of the comma after each number, or after its bracket for the last in a row."""
        return np.append(np.flatnonzero(self._bytes == ord(",")), len(self._text) - 1)

    def _spans(self, column: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Begins and ends (exclusive) of the numbers of a column."""
        ends = self._commas[column :: self._width] - (column == self._width - 1)
        return self._commas[column - 1 :: self._width][: len(ends)] + 1, ends


class Texts(Sequence[str]):
    """The texts of one column of cells, or of some rows of it, cut out on demand."""

    __slots__ = ("_cells", "_column", "_length", "_lines")

    def __init__(self, cells: Cells, column: int, length: int, lines: Lines = slice(None)) -> None:
        self._cells = cells
        self._column = column
        self._length = length
        self._lines = lines

    def select(self, lines: Lines) -> "Texts":
        chosen = np.arange(self._length)[lines]
        return Texts(self._cells, self._column, len(chosen), self._indices()[chosen])

    def all(self) -> list[str]:
        texts = self._cells.column(self._column)
        if isinstance(self._lines, slice):
            return texts[self._lines]
        return [texts[index] for index in self._lines.tolist()]

    def is_short(self) -> bool:
        return self._cells.are_short(self._column)

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


def select(texts: Sequence[str], lines: Lines) -> Sequence[str]:
    """The texts of some lines."""
    if isinstance(texts, Texts):
        return texts.select(lines)
    if isinstance(lines, slice):
        return texts[lines]
    return [texts[index] for index in lines.tolist()]


def are_short(texts: Sequence[str]) -> bool:
    """Whether float64 recovers all digits of every text."""
    return texts.is_short() if isinstance(texts, Texts) else max(map(len, texts)) <= SHORT


def whole_units(texts: Sequence[str]) -> tuple[Integers | list[int], int]:
    """Plain decimals as integers in one common unit, and how many units make 1."""
    if (found := _small_units(texts)) is not None:
        return found
    parts = [text.partition(".") for text in texts]
    decimals = max(len(part) for _, _, part in parts)
    return [int(whole + part.ljust(decimals, "0")) for whole, _, part in parts], 10**decimals


def _small_units(texts: Sequence[str]) -> tuple[Integers, int] | None:
    """whole_units where all fit int64 and have a point, ten times as fast; else None."""
    joined = ",".join(texts)
    signs = np.frombuffer(f"{joined},".encode(), np.uint8)
    ends, points = np.flatnonzero(signs == ord(",")), np.flatnonzero(signs == ord("."))
    if len(points) != len(ends):
        return None
    decimals = ends - points - 1
    most = int(decimals.max())
    begins = np.append(0, ends[:-1] + 1)
    if int((points - begins).max()) + most > _INT64_DIGITS:
        return None
    units = np.fromstring(joined.replace(".", ""), np.int64, sep=",")
    return units * 10 ** (most - decimals), 10**most


_FLOATS: Final = msgspec.json.Decoder(list[float])


def floats(texts: Sequence[str]) -> Sequence[float]:
    """float() of each text; decoding one JSON array is four times as fast and bit-identical."""
    try:
        return _FLOATS.decode(f"[{','.join(texts)}]")
    except msgspec.DecodeError:  # a form JSON lacks, such as "5."
        return list(map(float, texts))
