"""Recorded series as files of the archive: they go in and come back bit for bit."""

import csv
import gzip
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from database import Database, SeriesKey, SeriesRows
from history.archive.names import parse_name
from history.found_files import find_files
from history.importing import Importer
from history.lake.exporting import export
from history.lake.wanted import Wanted
from market.rows import Floats
from market.timeframes import Timeframe
from tests.fixtures.postgres import DatabaseIn
from tests.history.archive.files import FUNDING, KLINES, METRICS, metric, write_zip
from tests.history.lake.test_recorded_series import recorded as recorded_series
from tests.history.lake.test_recorded_series import rows_of

NOW = 1_795_000_000_000
KNOWN = 1_790_000_000_000
_KLINE_COLUMNS = ("open", "high", "low", "close", "volume", "quote_volume")
ZERO = "0"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


def month_of(row: dict[str, str], column: str) -> str:
    return f"{datetime.fromtimestamp(int(row[column]) / 1000, UTC):%Y-%m}"


def day_of(row: dict[str, str], *, whole_months: bool) -> str:
    # Before the change of 2026-06-25 a day's file begins at 00:05.
    moment = datetime.fromtimestamp((int(row["timestamp"]) - 1) / 1000, UTC)
    return f"{moment:%Y-%m}" if whole_months else f"{moment:%Y-%m-%d}"


def archive_files(
    path: Path, folder: Path
) -> tuple[dict[SeriesKey, dict[int, tuple[str, ...]]], list[Path]]:
    """The rows of a recorded file by series, as texts, and the archive files made of them."""
    _, symbol, kind, *rest = path.name.split("_")
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()  # noqa: SIM115
    with opened as lines:
        rows = list(csv.DictReader(lines))
    wanted: dict[SeriesKey, dict[int, tuple[str, ...]]] = {}
    files = []
    for market in sorted({row.get("symbol", symbol) for row in rows}):
        own = [row for row in rows if row.get("symbol", symbol) == market]
        if kind == "kline":
            timeframe = Timeframe(rest[0])
            key = SeriesKey.candles("binance", market, timeframe)
            of = {int(row["open_time"]): _candle(row) for row in own}
            for month, some in groupby(own, lambda row: month_of(row, "open_time")):
                made = [_kline(row, timeframe.interval_ms) for row in some]
                files.append(
                    write_zip(folder, f"{market}-{timeframe}-{month}.zip", [KLINES, *made])
                )
        elif kind == "funding":
            key = SeriesKey.funding("binance", market)
            of = {int(row["funding_time"]): (row["funding_rate"],) for row in own}
            for month, some in groupby(own, lambda row: month_of(row, "funding_time")):
                made = [f"{row['funding_time']},8,{row['funding_rate']}" for row in some]
                files.append(
                    write_zip(folder, f"{market}-fundingRate-{month}.zip", [FUNDING, *made])
                )
        else:
            key = SeriesKey.open_interest("binance", market)
            of = {int(row["timestamp"]): (row["sum_open_interest"],) for row in own}
            for day, some in groupby(own, lambda row: day_of(row, whole_months=rest[0] != "5m")):
                made = [
                    metric(
                        int(row["timestamp"]), row["sum_open_interest"],
                        row["sum_open_interest_value"], market,
                    )
                    for row in some
                ]  # fmt: skip
                files.append(write_zip(folder, f"{market}-metrics-{day}.zip", [METRICS, *made]))
        wanted[key] = of
    return wanted, files


def _candle(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row.get(column, ZERO) for column in _KLINE_COLUMNS)


def _kline(row: dict[str, str], step_ms: int) -> str:
    opened, high, low, close, volume, turnover = _candle(row)
    begin = int(row["open_time"])
    count, taker, taker_quote = (
        row.get(name, ZERO) for name in ("count", "taker_buy_volume", "taker_buy_quote_volume")
    )
    return (
        f"{begin},{opened},{high},{low},{close},{volume},{begin + step_ms - 1},{turnover},"
        f"{count},{taker},{taker_quote},0"
    )


def recorded(folder: Path, *, all_markets: bool) -> Iterator[Path]:
    for path in sorted((folder / "history").glob("binance_*.csv*")):
        if ("_ALL_" in path.name) == all_markets:
            yield path


def bits(values: Floats) -> bytes:
    return np.ascontiguousarray(values).tobytes()


async def _goes_in(database: Database, path: Path, folder: Path) -> int:
    wanted, files = archive_files(path, folder)
    importer = Importer(database, lambda: NOW)
    for name, file in sorted(
        ((parse_name(file), file) for file in files), key=lambda f: f[0].order
    ):
        report = await importer.archive_file(file, name)
        assert report.is_whole, (report.cause, list(report.refusals.texts()))
    for key, rows in wanted.items():
        async with database.history.snapshot() as snapshot:
            times = sorted(rows)
            found = (await snapshot.versions([key], times[0], times[-1] + 1))[key]
        assert found.times.tolist() == times
        texts = [[float(text) for text in rows[time_ms]] for time_ms in times]
        assert bits(found.values) == bits(np.array(texts))
        assert (found.known_at >= NOW).all()
    return sum(map(len, wanted.values()))


async def test_recorded_series_go_in_as_archive_files(
    database: Database, recorded_data: Path, tmp_path: Path
) -> None:
    """Files of one series may hold the same instants, with other texts of the same numbers."""
    count = 0
    for path in recorded(recorded_data, all_markets=False):
        count += await _goes_in(database, path, tmp_path / path.name)
    assert count == 46_305  # as their README counts them


@pytest.mark.slow
async def test_recorded_series_of_all_markets_go_in_as_archive_files(
    database: Database, recorded_data: Path, tmp_path: Path
) -> None:
    count = 0
    for path in recorded(recorded_data, all_markets=True):
        count += await _goes_in(database, path, tmp_path / path.name)
    assert count == 144_702  # as their README counts them


def _series(folder: Path, every: bool) -> dict[SeriesKey, dict[int, tuple[float, ...]]]:
    """All recorded series, or the shorter ones of one market."""
    if every:
        return recorded_series(folder, every=True)
    found: dict[SeriesKey, dict[int, tuple[float, ...]]] = {}
    for path in (folder / "history").glob("bybit_SOLUSDT_*.csv"):
        for key, time_ms, values in rows_of(path):
            found.setdefault(key, {})[time_ms] = values
    return found


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_recorded_series_go_out_and_in_again(
    database: Database,
    database_in: DatabaseIn,
    recorded_data: Path,
    tmp_path: Path,
    every: bool,
) -> None:
    """As CSV; tests/history/lake/ has the lake. With the time since which each row is known."""
    wanted = {}
    rows = []
    for place, (key, by_time) in enumerate(_series(recorded_data, every).items()):
        times = sorted(by_time)
        values = np.array([by_time[time_ms] for time_ms in times])
        wanted[key] = times, bits(values), KNOWN + place
        rows.append((SeriesRows(key, np.array(times), values), KNOWN + place))
    assert len(rows) > (500 if every else 1)
    for each, known_ms in rows:
        await database.history.store([each], known_ms)
    await export(database.history, tmp_path, Wanted("csv"), NOW)
    other = Database(await database_in("UTF8"))
    importer = Importer(other, lambda: NOW)
    found = find_files([tmp_path])
    assert not found.unknown
    reports = [await importer.exported_file(file) for file in found.exported]
    assert [report.cause for report in reports] == [None] * len(reports)
    async with other.history.snapshot() as snapshot:
        assert set(await snapshot.series()) == set(wanted)
        for key, (times, content, known_ms) in wanted.items():
            read = (await snapshot.versions([key], times[0], times[-1] + 1))[key]
            assert (read.times.tolist(), bits(read.values)) == (times, content)
            assert (read.known_at == known_ms).all()
    await other.aclose()
