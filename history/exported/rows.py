"""The rows of an exported file, market by market, in pieces of bounded size."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import IO, Any, Final

import numpy as np
from arro3.core import DataType
from arro3.io import read_parquet

from history.archive.errors import ArchiveError
from history.archive.numbers import shown
from history.exported.files import ExportedFile
from market.columns import VALUES
from market.rows import Floats, Times

AT_ONCE: Final = 30_000  # rows; a row group of ours has as many
_FORMAT: Final = b"perpcache-lake-1"
_MOST_LINE: Final = 1024
_CANDLE: Final = tuple(column.name for column in VALUES if column.candle)


@dataclass(frozen=True, slots=True)
class ExportedRows:
    """Rows of one market: `times` (n), `values` (n, width) with NaN for null, `known_at` (n)."""

    symbol: str
    times: Times
    values: Floats
    known_at: Times


def columns_of(file: ExportedFile) -> tuple[str, ...]:
    """The columns of a file, without the symbol."""
    values = _CANDLE if file.kind == "candles" else ("value",)
    return ("open_time" if file.kind == "candles" else "time", *values, "known_at")


def read_rows(file: ExportedFile) -> Generator[ExportedRows]:
    """The rows of the file. Raises ArchiveError, also in the midst of it."""
    if file.form == "csv":
        return _csv_rows(file)
    return _parquet_rows(file)


def _csv_rows(file: ExportedFile) -> Generator[ExportedRows]:
    assert file.symbol is not None  # noqa: S101 - parse_path sets it
    columns = columns_of(file)
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


def _parquet_rows(file: ExportedFile) -> Generator[ExportedRows]:
    names = ("symbol", *columns_of(file))
    try:
        with file.path.open("rb") as opened:
            reader = read_parquet(opened, batch_size=AT_ONCE)
            schema = reader.schema
            _check_schema(file, names, schema)
            for batch in reader:
                yield from _markets_of(batch)
    except ArchiveError:
        raise
    except Exception as error:  # arro3 has errors of its own, and of many kinds
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ArchiveError(f"it is no whole Parquet file of an export ({cause})") from None


def _check_schema(file: ExportedFile, names: Sequence[str], schema: Any) -> None:
    told = dict(schema.metadata_str or {})
    if told.get("perpcache", _FORMAT.decode()) != _FORMAT.decode():
        raise ArchiveError(f"it is of another release: {told['perpcache'][:50]!r}")
    found = [(field.name, str(field.type)) for field in schema]
    if [name for name, _ in found] != list(names):
        raise ArchiveError(
            f"its columns are {', '.join(name for name, _ in found)[:200]}, and those of an export"
            f" {', '.join(names)}"
        )
    for key, name in (("kind", file.kind), ("exchange", file.exchange)):
        if told.get(key, name) != name:
            raise ArchiveError(f"its path says {name}, and it is of {told[key][:50]!r}")


def _markets_of(batch: Any) -> Iterator[ExportedRows]:
    symbols = np.array(batch.column(0).to_pylist(), object)
    count = len(symbols)
    times = _times(batch.column(1))
    known_at = _times(batch.column(batch.num_columns - 1))
    values = np.empty((count, batch.num_columns - 3))
    for place in range(values.shape[1]):
        values[:, place] = _floats(batch.column(place + 2))
    begins = np.flatnonzero(symbols[1:] != symbols[:-1]) + 1
    for begin, end in pairwise([0, *begins.tolist(), count]):
        if not isinstance(symbols[begin], str):
            raise ArchiveError("it has rows without a symbol")
        lines = slice(begin, end)
        yield ExportedRows(symbols[begin], times[lines], values[lines], known_at[lines])


def _times(column: Any) -> Times:
    if column.null_count:
        raise ArchiveError("it has rows without a time")
    found: Times = np.asarray(column.cast(DataType.int64()).to_numpy())
    return found


def _floats(column: Any) -> Floats:
    if not column.null_count:
        return np.asarray(column.to_numpy(), np.float64)
    values = column.to_pylist()
    return np.array([np.nan if value is None else value for value in values], np.float64)
