"""The output of `sql`: the rows of an answer as a table, as CSV or as JSON, batch by batch."""

import csv
import io
import math
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson

from commands.errors import CommandError
from stores.cold.reading_session import Batch
from texts.printable import printable

_WIDEST: Final = 80  # of a column that is filled up with spaces


class Writer(ABC):
    """Makes the text of an answer; all batches have the same columns."""

    @abstractmethod
    def add(self, batch: Batch) -> str:
        """The text of the next rows; the first batch may have none."""

    @abstractmethod
    def end(self) -> str:
        """The text after the last rows."""


class TableWriter(Writer):
    """A table for people. The first batch decides how wide its columns are."""

    def __init__(self) -> None:
        self._widths: list[int] = []
        self._rows = 0

    def add(self, batch: Batch) -> str:
        cells = [[printable(as_text(value)) for value in row] for row in batch.rows]
        lines = []
        if not self._widths and batch.columns:
            names = [printable(name) for name in batch.columns]
            self._widths = [
                min(max(map(_width, column)), _WIDEST) for column in zip(names, *cells, strict=True)
            ]
            lines = [self._line(names), "-+-".join("-" * width for width in self._widths)]
        self._rows += len(cells)
        numbers = [isinstance(value, (int, float, Decimal)) for value in _first(batch.rows)]
        lines += [self._line(row, numbers) for row in cells]
        return "".join(f"{line}\n" for line in lines)

    def end(self) -> str:
        return f"({self._rows} row{'' if self._rows == 1 else 's'})\n"

    def _line(self, cells: Sequence[str], numbers: Sequence[bool] = ()) -> str:
        padded = []
        for place, (cell, width) in enumerate(zip(cells, self._widths, strict=True)):
            space = " " * (width - _width(cell))
            right = place < len(numbers) and numbers[place]
            padded.append(space + cell if right else cell + space)
        return " | ".join(padded).rstrip()


class CsvWriter(Writer):
    """CSV with a header (RFC 4180, lines end with LF). Null is an empty field."""

    def __init__(self) -> None:
        self._began = False

    def add(self, batch: Batch) -> str:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        if not self._began and batch.columns:
            writer.writerow(batch.columns)
        self._began = True
        writer.writerows([as_text(value) for value in row] for row in batch.rows)
        return buffer.getvalue()

    def end(self) -> str:
        return ""


class JsonWriter(Writer):
    """A JSON array of objects, one on each line."""

    def __init__(self) -> None:
        self._began = False

    def add(self, batch: Batch) -> str:
        """Raises CommandError for two columns of one name, of which an object would have one."""
        twice = [name for name, count in Counter(batch.columns).items() if count > 1]
        if twice:
            named = printable(twice[0])
            raise CommandError(
                f"two columns are named {named}: name one with AS, or ask for --format csv"
            )
        parts = []
        for row in batch.rows:
            text = orjson.dumps(
                {name: as_json(value) for name, value in zip(batch.columns, row, strict=True)}
            ).decode()
            parts.append(f"{',' if self._began else '['}\n{text}")
            self._began = True
        return "".join(parts)

    def end(self) -> str:
        return "\n]\n" if self._began else "[]\n"


WRITERS: Final[dict[str, type[Writer]]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "json": JsonWriter,
}


def as_text(value: Any) -> str:
    """A value as PostgreSQL writes it; null is empty, what has parts is JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "t" if value else "f"
        case float():
            return _float_text(value)
        case datetime():
            return value.isoformat(sep=" ")
        case bytes():
            return f"\\x{value.hex()}"
        case str():
            return value
        case list() | tuple() | dict():
            return orjson.dumps(as_json(value)).decode()
        case _ if hasattr(value, "items"):  # a row as a value
            return orjson.dumps(as_json(value)).decode()
        case _:
            return str(value)


def as_json(value: Any) -> Any:
    """A value in the types of JSON; numbers that JSON does not have are texts, as PostgreSQL's."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case float():
            return value if math.isfinite(value) else as_text(value)
        case Decimal():
            return orjson.Fragment(str(value)) if value.is_finite() else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case list() | tuple():
            return [as_json(each) for each in value]
        case _ if hasattr(value, "items"):
            return {str(name): as_json(each) for name, each in value.items()}
        case _:
            return as_text(value)


def _float_text(value: float) -> str:
    if math.isfinite(value):
        # As the server's shortest form: without .0.
        text = repr(value)
        return text.removesuffix(".0")
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _first(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Of each column the first value that is not null."""
    return [
        next((row[place] for row in rows if row[place] is not None), None)
        for place in range(len(rows[0]) if rows else 0)
    ]


def _width(text: str) -> int:
    """Columns of a terminal: wide letters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
