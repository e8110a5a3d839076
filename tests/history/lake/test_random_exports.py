"""Exports of random histories, one after another into one folder, beside the naive record."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from database import SeriesKey
from history.lake.exporting import export
from history.lake.wanted import Wanted
from market.timeframes import Timeframe
from stores.cold.history.tables import HistoryTables
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import DatabasePool
from tests.history.lake.reading_back import csv_rows, leftovers, parquet_rows
from tests.stores.cold.history.killed import KillingPool
from tests.stores.cold.history.naive import Row
from tests.stores.cold.history.test_random_histories import History, bits, small_limits

__all__ = ["small_limits"]
_END_MS = 10**15


class Lake:
    """What a lake must hold: what the record tells, and what it had told of times before."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.rows: dict[SeriesKey, dict[int, Row]] = {}
        self.as_of_ms = 0

    def export(self, as_of_ms: int) -> None:
        groups: dict[tuple[str, str, int], list[SeriesKey]] = {}
        for key in self.history.keys:
            groups.setdefault((key.exchange, key.kind, key.interval_ms), []).append(key)
        for keys in groups.values():
            times = [t for key in keys for t in self.history.naive.versions.get(key, ())]
            if times:
                for key in keys:
                    self._export(key, min(times), max(times), as_of_ms)

    def _export(self, key: SeriesKey, begin_ms: int, end_ms: int, as_of_ms: int) -> None:
        """Months in which the record has nothing stay as they are. Where it has some, rows of which
        it has nothing stay in months that are over, and in the one in which it begins."""
        known = self.history.naive.versions.get(key, {})

        def is_kept(t: int) -> bool:
            month = month_of(t)
            if not month_of(begin_ms) <= month <= month_of(end_ms):
                return True
            return t not in known and (month < month_of(as_of_ms) or month < _utc(begin_ms))

        kept = {t: row for t, row in self.rows.get(key, {}).items() if is_kept(t)}
        told, _ = self.history.naive.read(key, 0, _END_MS, as_of_ms, False)
        self.rows[key] = kept | {row[0]: row for row in told}

    def expected(self) -> dict[SeriesKey, list[Row]]:
        return {key: [rows[t] for t in sorted(rows)] for key, rows in self.rows.items() if rows}


def month_of(time_ms: int) -> datetime:
    return _utc(time_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def keys_of(seed: int) -> list[SeriesKey]:
    names = [("binance", f"S{seed}{letter}") for letter in "BAC"]
    return [
        *(SeriesKey.candles(*name, Timeframe.M5) for name in names),
        *(SeriesKey.candles(*name, Timeframe.H4) for name in names[:2]),
        SeriesKey.candles("bybit", f"S{seed}", Timeframe.H4),
        *(SeriesKey.open_interest(*name) for name in names[:2]),
        *(SeriesKey.funding(*name) for name in names),
    ]


def as_bits(rows: dict[SeriesKey, list[Row]]) -> dict[SeriesKey, list[tuple[Any, ...]]]:
    return {key: bits(found) for key, found in rows.items()}


async def run(url: str, folder: Path, seed: int, steps: int) -> None:
    pool = DatabasePool(url, MIGRATIONS, read_s=20, write_s=20)
    tables = HistoryTables(pool)
    history = History(tables, KillingPool(pool), seed)
    history.keys = keys_of(seed)
    symbols = frozenset(key.symbol for key in history.keys)
    lake = Lake(history)
    try:
        for number in range(steps):
            name = history.random.choice(
                ["store"] * 8 + ["repeat"] + ["compact"] * 2 + ["retain"] + ["export"] * 3
            )
            if name != "export" and number < steps - 1:
                await getattr(history, name)()
                continue
            # Sometimes before the newest rows are known: the next one must not forget them.
            lag_ms = history.random.choice((0, 0, 0, 1, 1000))
            as_of_ms = lake.as_of_ms = max(lake.as_of_ms, history.now_ms - lag_ms)
            wanted = Wanted("parquet", symbols=symbols)
            await export(tables, folder / "lake", wanted, as_of_ms)
            lake.export(as_of_ms)
            assert as_bits(parquet_rows(folder / "lake")) == as_bits(lake.expected()), number
            assert not leftovers(folder)
        await export(tables, folder / "csv", Wanted("csv", symbols=symbols), history.now_ms)
        for key in history.keys:
            told, _ = history.naive.read(key, 0, _END_MS, history.now_ms, False)
            timeframe = next((t for t in Timeframe if t.interval_ms == key.interval_ms), "")
            place = f"{key.exchange}/{timeframe}" if key.kind == "candles" else key.exchange
            file = folder / "csv" / key.kind / place / f"{key.symbol}.csv"
            assert bits(csv_rows(file) if file.exists() else []) == bits(told)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        await pool.aclose()


@pytest.mark.usefixtures("small_limits")
async def test_an_export_has_what_the_record_tells(database_url: str, tmp_path: Path) -> None:
    await run(database_url, tmp_path, 1, 30)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("small_limits")
async def test_many_exports_have_what_the_record_tells(database_url: str, tmp_path: Path) -> None:
    for seed in range(1000, 1040):
        await run(database_url, tmp_path / f"{seed}", seed, 60)
