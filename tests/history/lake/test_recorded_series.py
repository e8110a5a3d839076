"""Recorded series of both exchanges, exported and read back: every bit of every number."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from database import Database, SeriesKey, SeriesRows
from history.exported.files import parse_path
from history.importing import Importer
from history.lake.exporting import export
from history.lake.wanted import Wanted
from market.timeframes import Timeframe
from tests.fixtures.postgres import DatabaseIn
from tests.fixtures.recorded_csv import read_csv
from tests.history.lake.reading_back import csv_rows, identities, parquet_rows
from tests.stores.cold.history.naive import Row
from tests.stores.cold.history.test_random_histories import bits, told

_KNOWN_MS: Final = 1_790_000_000_000
_PRICES: Final = ("open", "high", "low", "close", "volume")
_BYBIT: Final = {"5": "5m", "15": "15m", "30": "30m", "60": "1h", "240": "4h", "D": "1d"}


def recorded(folder: Path, every: bool) -> dict[SeriesKey, dict[int, tuple[float, ...]]]:
    """The recorded series by their times; of one market, several files are one series. Without
    `every` those of a market that was listed in the month of the recording."""
    found: dict[SeriesKey, dict[int, tuple[float, ...]]] = {}
    for path in sorted((folder / "history").glob("b*_*_*_*.csv*")):
        if not every and "_KATUSDT_" not in path.name:
            continue
        for key, time_ms, values in rows_of(path):
            found.setdefault(key, {})[time_ms] = values
    return found


def rows_of(path: Path) -> Iterator[tuple[SeriesKey, int, tuple[float, ...]]]:
    exchange, symbol, kind, length = path.name.split("_")[:4]
    time: str
    header = read_header(path)
    if kind == "kline":
        time = next(name for name in ("open_time", "start_time") if name in header)
        # Where a file has no turnover its volume stands in.
        turnover = next(n for n in ("quote_volume", "turnover", "volume") if n in header)
        columns: tuple[str, ...] = (time, *_PRICES, turnover)
    elif kind == "oi":
        time = "timestamp"
        columns = (time, next(n for n in header if n.endswith("open_interest")))
    else:
        columns = ("funding_time", "funding_rate")
    names = ("symbol",) if "symbol" in header else ()
    for line in read_csv(path, *columns, *names):
        name = line[-1] if names else symbol
        values = tuple(float(text) for text in line[1 : len(columns)])
        yield key_of(exchange, name, kind, length), int(line[0]), values


def read_header(path: Path) -> list[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return next(iter(lines)).strip().split(",")


def key_of(exchange: str, symbol: str, kind: str, length: str) -> SeriesKey:
    if kind == "kline":
        return SeriesKey.candles(exchange, symbol, Timeframe(_BYBIT.get(length, length)))
    make = SeriesKey.open_interest if kind == "oi" else SeriesKey.funding
    return make(exchange, symbol)


async def imported(url: str, lake: Path) -> dict[SeriesKey, list[tuple[Any, ...]]]:
    """The record of a new database into which the lake was imported, in bits."""
    database = Database(url, read_s=60, write_s=60)
    try:
        importer = Importer(database, lambda: _KNOWN_MS)
        for path in identities(lake):
            file = parse_path(lake / path)
            assert file is not None
            report = await importer.exported_file(file)
            assert report.is_whole, report
        async with database.history.snapshot() as snapshot:
            keys = await snapshot.series()
            found = await snapshot.versions(keys, 0, _KNOWN_MS)
    finally:
        await database.aclose()
    return {key: bits(told([found[key]])) for key in keys}


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_recorded_series_come_back_bit_for_bit(
    database: Database, database_in: DatabaseIn, recorded_data: Path, tmp_path: Path, every: bool
) -> None:
    expected: dict[SeriesKey, list[Row]] = {}
    rows = []
    for key, by_time in recorded(recorded_data, every).items():
        times = sorted(by_time)
        values = np.array([by_time[time_ms] for time_ms in times])
        rows.append(SeriesRows(key, np.array(times), values))
        expected[key] = [(time_ms, by_time[time_ms], _KNOWN_MS) for time_ms in times]
    assert len(rows) > (500 if every else 3)
    await database.history.store(rows, _KNOWN_MS)
    await database.history.compact(_KNOWN_MS + 1)
    done = await export(database.history, tmp_path / "lake", Wanted("parquet"), _KNOWN_MS)
    found = parquet_rows(tmp_path / "lake")
    assert found.keys() == expected.keys()
    assert all(bits(found[key]) == bits(expected[key]) for key in expected)
    assert done.rows == sum(map(len, expected.values()))
    assert await imported(await database_in("UTF8"), tmp_path / "lake") == {
        key: bits(expected[key]) for key in expected
    }
    wanted = Wanted("csv", symbols=frozenset({"KATUSDT"}))
    await export(database.history, tmp_path / "csv", wanted, _KNOWN_MS)
    key = SeriesKey.candles("binance", "KATUSDT", Timeframe.H4)
    file = tmp_path / "csv" / "candles" / "binance" / "4h" / "KATUSDT.csv"
    assert bits(csv_rows(file)) == bits(expected[key])
