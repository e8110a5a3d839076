"""The rows of an exported file, market by market, in pieces of bounded size."""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import IO, Final

import numpy as np

from history.archive.errors import ArchiveError
from history.archive.numbers import shown
from history.exported.files import ExportedFile
from history.exported.parquet import parquet_rows
from history.exported.pieces import AT_ONCE, ExportedRows, columns_of

_MOST_LINE: Final = 1024


def read_rows(file: ExportedFile) -> Generator[ExportedRows]:
    """The rows of the file. Raises ArchiveError, also in the midst of it."""
    if file.form == "csv":
        return _csv_rows(file)
    return parquet_rows(file)


def _csv_rows(file: ExportedFile) -> Generator[ExportedRows]:
    assert file.symbol is not None  # noqa: S101 - parse_path sets it
    columns = columns_of(file.kind)
    try:
        with file.path.open("rb") as opened:
            header = opened.readline(_MOST_LINE).strip()
            if header != ",".join(columns).encode():
                raise ArchiveError(
                    f"its header is {shown(header)}, and that of an export {','.join(columns)}"
                )
            for begin, lines in _blocks(opened):
                yield _parsed(file.symbol, begin, lines, len(columns))
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror or error}") from None


def _blocks(opened: IO[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """The lines in blocks, each with the number of its first line."""
    begin = 2
    while lines := list(islice(iter(lambda: opened.readline(_MOST_LINE), b""), AT_ONCE)):
        yield begin, lines
        begin += len(lines)


def _parsed(symbol: str, begin: int, lines: Sequence[bytes], width: int) -> ExportedRows:
    times: list[int] = []
    values: list[list[float]] = []
    known_at: list[int] = []
    for number, line in enumerate(lines, start=begin):
        fields = line.removesuffix(b"\n").split(b",")
        if len(fields) != width or not line.endswith(b"\n") or b"_" in line:
            raise ArchiveError(f"line {number} is no row of an export: {shown(line)}")
        try:
            times.append(_time(fields[0]))
            values.append([float(field) if field else np.nan for field in fields[1:-1]])
            known_at.append(_time(fields[-1]))
        except ValueError:
            raise ArchiveError(f"line {number} is no row of an export: {shown(line)}") from None
    return ExportedRows(
        symbol,
        np.array(times, np.int64),
        np.array(values, np.float64),
        np.array(known_at, np.int64),
    )


def _time(field: bytes) -> int:
    if not field.isdigit() or len(field) > 15:
        raise ValueError(field)
    return int(field)
