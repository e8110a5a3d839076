"""Lines of numbers as arrays: a header or none, each line with its number, wrong ones left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from arro3.core import DataType, Field, Schema
from arro3.io import read_csv

from history.archive.errors import ArchiveError, Refusals
from market.rows import Floats, Times

_PLAIN_BYTES: Final = b"0123456789.+-eE,\n"
_PLAIN: Final = re.compile(rb"[0-9.+\-eE]{1,64}")
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Table:
    """The columns that were asked for, (n, k), and the line of each row."""

    values: Floats
    lines: npt.NDArray[np.int64]


def read_numbers(
    text: bytes, columns: Sequence[str], wanted: Sequence[str], refusals: Refusals
) -> Table:
    """Reads the `wanted` ones of the `columns`, by the header or, without one, by their order.

    Raises ArchiveError for another header. Lines of another shape are refused.
    """
    body, begin, names = split_header(text, columns, wanted)
    indices = [names.index(name) for name in wanted]
    found = _at_once(body, len(names), indices)
    if found is not None:
        return Table(found, np.arange(begin, begin + len(found)))
    rows: list[list[float]] = []
    lines: list[int] = []
    for line, fields in split_lines(body, begin, len(names), refusals):
        try:
            rows.append([_number(fields[index]) for index in indices])
        except ValueError as error:
            refusals.add(line, str(error))
            continue
        lines.append(line)
    values = np.array(rows, np.float64).reshape(len(rows), len(indices))
    return Table(values, np.array(lines, np.int64))


def split_header(
    text: bytes, columns: Sequence[str], wanted: Sequence[str]
) -> tuple[bytes, int, Sequence[str]]:
    """The text without its header, the number of its first line, and the names of its columns.

    Older files have no header: then the first field is a number. Raises ArchiveError for a header
    without the wanted columns, and for a text without lines.
    """
    text = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    first, _, rest = text.partition(b"\n")
    if not first.strip():
        raise ArchiveError("it is empty")
    if first[:1].isdigit():
        return text, 1, columns
    names = [shown(field.strip(b' "')) for field in first.split(b",")]
    lacking = [name for name in wanted if names.count(name) != 1]
    if lacking:
        raise ArchiveError(
            f"its header {shown(first)} lacks {', '.join(lacking)}; expected is {','.join(columns)}"
        )
    return rest, 2, names


def split_lines(
    text: bytes, begin: int, width: int, refusals: Refusals
) -> "list[tuple[int, list[bytes]]]":
    """The fields of each line that has so many; empty lines are skipped, others refused."""
    found = []
    for line, content in enumerate(text.split(b"\n"), start=begin):
        if not content:
            continue
        fields = content.split(b",")
        if len(fields) == width:
            found.append((line, fields))
        else:
            refusals.add(line, f"{len(fields)} columns in place of {width}")
    return found


def shown(text: bytes) -> str:
    """Text of a file for a message: short, and on one line."""
    return ascii(text[:_SHOWN].decode(errors="replace"))[1:-1]


def _number(field: bytes) -> float:
    if not _PLAIN.fullmatch(field):
        raise ValueError(f"{shown(field)!r} is no number")
    try:
        return float(field)
    except ValueError:
        raise ValueError(f"{shown(field)!r} is no number") from None


def _at_once(text: bytes, width: int, indices: Sequence[int]) -> Floats | None:
    """The same, four times as fast; None for a text in which anything is unusual."""
    # arro3 0.9.1 ends the process at an error whose text has a zero byte: it sees plain ones only.
    if not text or text.translate(None, _PLAIN_BYTES):
        return None
    count = text.count(b"\n") + (not text.endswith(b"\n"))
    fields = [Field(str(place), DataType.float64()) for place in range(width)]
    try:
        table = read_csv(BytesIO(text), Schema(fields), has_header=False).read_all()
    except Exception:  # of many kinds: what it cannot read is read line by line
        return None
    if table.num_rows != count:
        return None
    found = np.empty((count, len(indices)))
    for place, index in enumerate(indices):
        column: Any = table.column(index)
        if column.null_count:
            return None
        found[:, place] = column.to_numpy()
    return found


def settled(
    times: Times, values: Floats, lines: npt.NDArray[np.int64], refusals: Refusals
) -> tuple[npt.NDArray[np.intp], int]:
    """The indices of the rows by time, each time once, and how many exact doubles were dropped.

    Rows of one time with other values contradict each other: all of them are refused.
    """
    order = np.lexsort((lines, times))
    if len(times) < 2 or bool((times[order][1:] > times[order][:-1]).all()):
        return order, 0
    ordered = times[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    kept: list[int] = []
    doubled = 0
    for same in np.split(order, begins[1:]):
        told = values[same]
        if bool(((told == told[0]) | (np.isnan(told) & np.isnan(told[0]))).all()):
            kept.append(int(same[0]))
            doubled += len(same) - 1
            continue
        numbers = lines[same].tolist()
        for line in numbers:
            other = numbers[0] if line != numbers[0] else numbers[1]
            refusals.add(line, f"it has the time of line {other}, and other values")
    return np.array(kept, np.intp), doubled
