"""The rows of a month as Parquet: sorted by symbol and time, with zstd, a group per 30,000 rows."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from history.lake.columns import time_name, value_names
from history.lake.layout import LakeFile
from history.lake.reading import BATCH_ROWS, Batch, MarketRows
from market.rows import Floats, Times

_TIME: Final = pa.timestamp("ms", tz="UTC")
_FORMAT: Final = "perpcache-lake-1"
_LEVEL: Final = 3
# A group is ended by the batch with which it has so many: one has between half and one and a half
# times BATCH_ROWS, but for a file's last one.
_GROUP_ROWS: Final = BATCH_ROWS // 2


class ParquetRows:
    """A RowWriter of writing.py.

    Values have no dictionary: prices rarely repeat, and files are a fifth smaller without (measured
    on recorded candles). Each page has a checksum.
    """

    def __init__(self, file: IO[bytes], described: LakeFile) -> None:
        self._schema = schema_of(described)
        self._pending: list[MarketRows] = []
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=["symbol"],
            write_page_checksum=True,
            sorting_columns=[pq.SortingColumn(0), pq.SortingColumn(1)],
        )

    def write(self, batch: Batch) -> None:
        self._pending += batch
        if sum(map(len, self._pending)) >= _GROUP_ROWS:
            self._write_group()

    def end(self) -> None:
        if self._pending:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        rows, self._pending = self._pending, []
        table = table_of(rows, self._schema)
        self._writer.write_table(table, row_group_size=len(table))


def schema_of(described: LakeFile) -> pa.Schema:
    """The columns, and in the metadata what the folders' names say, for a file that was moved."""
    key = described.keys[0]
    told = {
        "perpcache": _FORMAT,
        "kind": key.kind,
        "exchange": key.exchange,
        "interval_ms": str(key.interval_ms),
    }
    if described.timeframe is not None:
        told["timeframe"] = described.timeframe
    fields = [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field(time_name(described.content), _TIME, nullable=False),
        *(pa.field(name, pa.float64()) for name in value_names(described.content)),
        pa.field("known_at", _TIME, nullable=False),
    ]
    return pa.schema(fields, metadata=told)


def table_of(rows: list[MarketRows], schema: pa.Schema) -> pa.Table:
    """Rows of markets, one after another; NaN is null."""
    symbols = pa.array([each.symbol for each in rows], pa.string())
    places = np.repeat(np.arange(len(rows), dtype=np.int32), [len(each) for each in rows])
    values = np.concatenate([each.values for each in rows])
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(places), symbols).dictionary_decode(),
        pa.array(np.concatenate([each.times for each in rows])).cast(_TIME),
        *(numbers(values[:, place]) for place in range(values.shape[1])),
        pa.array(np.concatenate([each.known_at for each in rows])).cast(_TIME),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def numbers(column: Floats) -> Any:
    """float64, with null for NaN."""
    return pa.array(np.ascontiguousarray(column), from_pandas=True)


def is_readable(place: Path, described: LakeFile) -> bool:
    """Whether the file is of an export, of the same series, and whole: all checksums are right."""
    try:
        for _ in written_rows(place, described):
            pass
    except (OSError, pa.ArrowException, _OtherFile):
        return False
    return True


class _OtherFile(Exception):
    """The file has other columns, or tells of another series."""


def written_rows(place: Path, described: LakeFile) -> Iterator[MarketRows]:
    """The rows of a written file, market by market, in pieces."""
    schema = schema_of(described)
    with pq.ParquetFile(place, page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(schema, check_metadata=False):
            raise _OtherFile
        if dict(file.schema_arrow.metadata or {}) != dict(schema.metadata):
            raise _OtherFile
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            yield from _markets_of(batch)


def _markets_of(batch: Any) -> Iterator[MarketRows]:
    encoded = batch.column(0).dictionary_encode()
    symbols = encoded.dictionary.to_pylist()
    places = encoded.indices.to_numpy(zero_copy_only=False)
    times = _times(batch.column(1))
    known_at = _times(batch.column(batch.num_columns - 1))
    values = np.column_stack(
        [
            batch.column(place).to_numpy(zero_copy_only=False).astype(np.float64)
            for place in range(2, batch.num_columns - 1)
        ]
    )
    begins = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(places)]
    for begin, end in pairwise(begins):
        lines = slice(begin, end)
        if end > begin:
            symbol = symbols[int(places[begin])]
            yield MarketRows(symbol, times[lines], values[lines], known_at[lines])


def _times(column: Any) -> Times:
    found: Times = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found
