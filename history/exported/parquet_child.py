"""Reads a Parquet file of an export in a process of its own, and writes its rows to its output.

`python -m history.exported.parquet_child FILE KIND EXCHANGE TIMEFRAME`; parquet.py starts it, and
reads them. At files that are damaged in some ways arro3 0.9.1 panics, or ends the process.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from arro3.core import DataType
from arro3.io import read_parquet

from history.exported.pieces import AT_ONCE, ExportedRows, columns_of
from market.rows import Floats, Times

_FORMAT: Final = "perpcache-lake-1"
_MOST_MEMORY: Final = 2**32  # bytes, of addresses; a whole month of 1000 markets takes 0.3 GB
_MOST_NAME: Final = 200


class _Refused(Exception):
    """The file is no export, or not of what its path says."""


def main(arguments: Sequence[str]) -> int:
    """Writes each piece as a line of JSON, and then its times, values and times of knowledge as
    they lie in memory; at last a line that says that it is whole, or why it is refused."""
    path, *told_by_path = arguments
    _limit_memory()
    write = sys.stdout.buffer.write
    try:
        with Path(path).open("rb") as opened:
            for piece in _rows(opened, *told_by_path):
                rows, width = piece.values.shape
                head = {"symbol": piece.symbol, "rows": rows, "width": width}
                write(orjson.dumps(head) + b"\n")
                for numbers in (piece.times, piece.values, piece.known_at):
                    write(np.ascontiguousarray(numbers).tobytes())
        told: dict[str, Any] = {"whole": True}
    except _Refused as error:
        told = {"refused": str(error)}
    except Exception as error:  # arro3 has errors of its own, and of many kinds
        told = {"damaged": str(error)[:200] or type(error).__name__}
    write(orjson.dumps(told) + b"\n")
    return 0


def _limit_memory() -> None:
    """What a damaged file says of its sizes is not believed."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _rows(opened: Any, kind: str, exchange: str, timeframe: str) -> Iterator[ExportedRows]:
    reader = read_parquet(opened, batch_size=AT_ONCE)
    _check_schema(reader.schema, kind, exchange, timeframe)
    for batch in reader:
        yield from _markets_of(batch)


def _check_schema(schema: Any, kind: str, exchange: str, timeframe: str) -> None:
    told = dict(schema.metadata_str or {})
    if told.get("perpcache", _FORMAT) != _FORMAT:
        raise _Refused(f"it is of another release: {told['perpcache'][:50]!r}")
    names, found = ["symbol", *columns_of(kind)], [field.name for field in schema]
    if found != names:
        raise _Refused(
            f"its columns are {', '.join(found)[:200]}, and those of an export {', '.join(names)}"
        )
    for key, name in (("kind", kind), ("exchange", exchange), ("timeframe", timeframe)):
        if told.get(key, name) != name:
            raise _Refused(f"its path says {name}, and it is of {told[key][:50]!r}")


def _markets_of(batch: Any) -> Iterator[ExportedRows]:
    symbols = np.array(batch.column(0).to_pylist(), object)
    count = len(symbols)
    times, known_at = (_times(batch.column(place)) for place in (1, batch.num_columns - 1))
    values = np.empty((count, batch.num_columns - 3))
    for place in range(values.shape[1]):
        values[:, place] = _floats(batch.column(place + 2))
    begins = np.flatnonzero(symbols[1:] != symbols[:-1]) + 1
    for begin, end in pairwise([0, *begins.tolist(), count]):
        symbol, lines = symbols[begin], slice(begin, end)
        if not isinstance(symbol, str) or not 0 < len(symbol) <= _MOST_NAME:
            raise _Refused("it has rows without the name of a market")
        yield ExportedRows(symbol, times[lines], values[lines], known_at[lines])


def _times(column: Any) -> Times:
    if column.null_count:
        raise _Refused("it has rows without a time")
    found: Times = np.asarray(column.cast(DataType.int64()).to_numpy(), np.int64)
    return found


def _floats(column: Any) -> Floats:
    if not column.null_count:
        return np.asarray(column.to_numpy(), np.float64)
    values = column.to_pylist()
    return np.array([np.nan if value is None else value for value in values], np.float64)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
