"""Reads exports as others do: Parquet by pyarrow, CSV by the standard library, rows as they are."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from database import SeriesKey
from market.timeframes import Timeframe
from tests.stores.cold.history.naive import Row

Rows = dict[SeriesKey, list[Row]]


def key_of(path: Path, symbol: str) -> SeriesKey:
    """By what the folders' names say."""
    parts = dict(part.split("=") for part in path.parts if "=" in part)
    exchange = parts["exchange"]
    if "timeframe" in parts:
        return SeriesKey.candles(exchange, symbol, Timeframe(parts["timeframe"]))
    kind = next(part for part in path.parts if part in ("open_interest", "funding"))
    make = SeriesKey.open_interest if kind == "open_interest" else SeriesKey.funding
    return make(exchange, symbol)


def parquet_rows(root: Path) -> Rows:
    """The rows of each series, file by file in the order of the months; checks what each file
    promises: its month, its order, its manifest."""
    found: Rows = {}
    files = sorted(root.rglob("*.parquet"))
    manifest = json.loads((root / "manifest.json").read_bytes())
    assert {str(file.relative_to(root)) for file in files} == set(manifest["files"])
    for file in files:
        # Not by the folder's names, so that pyarrow adds no columns.
        table = pq.ParquetFile(file).read()
        check_entry(file, manifest["files"][str(file.relative_to(root))], table)
        symbols = table["symbol"].to_pylist()
        times = integers(table, table.column_names[1])
        assert list(zip(symbols, times, strict=True)) == sorted(zip(symbols, times, strict=True))
        (month,) = {str(np.datetime64(time_ms, "ms"))[:7] for time_ms in times}
        assert f"month={month}" in file.parts
        values = values_of(table)
        known = integers(table, "known_at")
        for symbol, row in zip(symbols, zip(times, values, known, strict=True), strict=True):
            found.setdefault(key_of(file, symbol), []).append(row)
    return found


def check_entry(file: Path, entry: dict[str, Any], table: Any) -> None:
    times = integers(table, table.column_names[1])
    told = [entry[name] for name in ("rows", "bytes", "sha256", "first", "last", "newest_known_at")]
    content = file.read_bytes()
    assert told == [
        *(len(table), len(content), hashlib.sha256(content).hexdigest()),
        *(min(times), max(times), max(integers(table, "known_at"))),
    ]


def integers(table: Any, name: str) -> list[int]:
    assert str(table.schema.field(name).type) == "timestamp[ms, tz=UTC]"
    numbers: list[int] = table[name].cast("int64").to_pylist()
    return numbers


def values_of(table: Any) -> list[tuple[float, ...]]:
    """NaN for null; no value is NaN itself."""
    columns = [table[name] for name in table.column_names[2:-1]]
    assert all(str(column.type) == "double" for column in columns)
    lists = [column.to_pylist() for column in columns]
    assert not any(value != value for each in lists for value in each)
    return [
        tuple(float("nan") if value is None else value for value in row)
        for row in zip(*lists, strict=True)
    ]


def csv_rows(file: Path) -> list[Row]:
    with file.open(newline="") as lines:
        return [
            (
                int(line[0]),
                tuple(float(value or "nan") for value in line[1:-1]),
                int(line[-1]),
            )
            for line in list(csv.reader(lines))[1:]
        ]


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Which file lies at each path: it is another one once it was replaced."""
    return {
        str(file.relative_to(root)): (file.stat().st_ino, file.stat().st_mtime_ns)
        for file in root.rglob("*.*")
        if file.suffix in (".parquet", ".csv", ".feather")
    }


def leftovers(root: Path) -> list[Path]:
    """Files under temporary names."""
    return list(root.rglob("*.tmp"))


def outside(folder: Path, root: Path) -> list[Path]:
    """Files of the folder that are not below `root`."""
    return [path for path in folder.rglob("*") if path.is_file() and root not in path.parents]
