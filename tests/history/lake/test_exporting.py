"""Exports one after another: which files each writes, what it refuses, and what a kill leaves."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from database import Database, FillRows, SeriesKey, SeriesRows
from history.lake.errors import ExportError, FolderInUse
from history.lake.exporting import Exported, export
from history.lake.folder import LakeFolder
from history.lake.freqtrade import Pair
from history.lake.wanted import Wanted
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.disk import MakeDisk, fill
from tests.history.lake.reading_back import (
    csv_rows,
    identities,
    leftovers,
    outside,
    parquet_rows,
)

BEGIN_MS = 1_767_225_600_000  # 2026-01-01
NOW_MS = BEGIN_MS + 70 * 24 * HOUR_MS  # 2026-03-12
FEBRUARY_MS = 1_769_904_000_000
LAKE = Wanted("parquet")
HOURS = "candles/exchange=binance/timeframe=1h/month={}/part-0.parquet"


def hours(symbol: str, count: int = 70 * 24, exchange: str = "binance") -> SeriesRows:
    times = BEGIN_MS + HOUR_MS * np.arange(count, dtype=np.int64)
    values = np.arange(count * 6, dtype=np.float64).reshape(count, 6) + len(symbol) / 7
    return SeriesRows(SeriesKey.candles(exchange, symbol, Timeframe.H1), times, values)


def funding(symbol: str, late_ms: int = 0) -> SeriesRows:
    times = BEGIN_MS + 8 * HOUR_MS * np.arange(100, dtype=np.int64) + late_ms
    return SeriesRows(SeriesKey.funding("binance", symbol), times, times[:, None] / 1e16)


def at(rows: SeriesRows, *lines: int, times: float = 1.0) -> SeriesRows:
    """Some of the rows, with other values."""
    return SeriesRows(rows.key, rows.times[list(lines)], rows.values[list(lines)] * times)


def changed(root: Path, before: dict[str, tuple[int, int]]) -> set[str]:
    now = identities(root)
    return {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}


async def test_only_what_has_changed_is_written(database: Database, tmp_path: Path) -> None:
    tables, root = database.history, tmp_path / "deep" / "lake"
    a, b = hours("AUSDT"), hours("BUSDT")
    await tables.store([a, b, funding("AUSDT")], NOW_MS)
    await tables.compact(NOW_MS + 1)
    lines: list[str] = []
    done = await export(tables, root, LAKE, NOW_MS, tell=lines.append)
    assert (done.written, done.unchanged, done.rows) == (5, 0, 2 * 70 * 24 + 100)
    assert [line.partition(":")[0] for line in lines] == [
        "candles of binance, 1h",
        "funding of binance",
    ]
    before = identities(root)
    assert await export(tables, root, LAKE, NOW_MS + 1) == Exported(unchanged=5)
    assert changed(root, before) == set()

    # A correction of January, and a new row of March.
    await tables.store([at(b, 5, times=2.0)], NOW_MS + 5)
    await tables.store([hours("BUSDT", 70 * 24 + 1)], NOW_MS + 6)
    await export(tables, root, LAKE, NOW_MS + 10)
    assert changed(root, before) == {HOURS.format("2026-01"), HOURS.format("2026-03")}
    # The correction was undone by the second publish; both are later than what was known before.
    assert json.loads((root / "manifest.json").read_bytes())["as_of"] == NOW_MS + 10
    before = identities(root)
    await tables.compact(NOW_MS + 100)  # moves rows, and changes none
    assert (await export(tables, root, LAKE, NOW_MS + 11)).written == 0
    assert changed(root, before) == set()
    # What is known later than the export is for the next one.
    await tables.store([at(a, 1, times=3.0)], NOW_MS + 20)
    assert (await export(tables, root, LAKE, NOW_MS + 12)).written == 0
    assert (await export(tables, root, LAKE, NOW_MS + 20)).written == 1
    # A value whose time of knowledge is not the newest: the month is written all the same.
    late = SeriesRows(a.key, a.times[:1] - HOUR_MS, a.values[:1])
    await tables.store([late], NOW_MS + 15)
    done = await export(tables, root, LAKE, NOW_MS + 21)
    assert (done.written, done.rows) == (1, 1)
    # All rows of December were removed.
    await tables.store([SeriesRows(a.key, a.times[:0], a.values[:0], late.times)], NOW_MS + 30)
    assert (await export(tables, root, LAKE, NOW_MS + 31)).removed == 1
    assert not (root / HOURS.format("2025-12")).exists()
    parquet_rows(root)


async def test_a_file_that_is_not_as_it_was_written_is_written_again(
    database: Database, tmp_path: Path
) -> None:
    tables = database.history
    await tables.store([hours("AUSDT")], NOW_MS)
    await export(tables, tmp_path, LAKE, NOW_MS)
    whole, before = parquet_rows(tmp_path), identities(tmp_path)
    first, second, third = (tmp_path / HOURS.format(f"2026-0{month}") for month in (1, 2, 3))
    first.unlink()
    content = bytearray(second.read_bytes())
    content[100] ^= 1
    second.write_bytes(content)
    (third.parent / f".{third.name}.tmp").write_bytes(b"left by a kill")
    assert (await export(tables, tmp_path, LAKE, NOW_MS)).written == 2
    assert changed(tmp_path, before) == {HOURS.format("2026-01"), HOURS.format("2026-02")}
    assert parquet_rows(tmp_path) == whole
    assert not leftovers(tmp_path)
    # Where a file's time has not changed, only --verify notices; a mere touch is no change.
    state = third.stat()
    content = bytearray(third.read_bytes())
    content[100] ^= 1
    third.write_bytes(content)
    os.utime(third, ns=(state.st_atime_ns, state.st_mtime_ns))
    os.utime(first)
    assert (await export(tables, tmp_path, LAKE, NOW_MS)).written == 0
    assert (await export(tables, tmp_path, LAKE, NOW_MS, verify=True)).written == 1
    assert parquet_rows(tmp_path) == whole


async def test_what_retention_has_removed_stays_in_the_lake(
    database: Database, tmp_path: Path
) -> None:
    tables, rows = database.history, hours("AUSDT")
    await tables.store([rows, hours("BUSDT")], NOW_MS)
    await tables.compact(NOW_MS + 1)
    await export(tables, tmp_path, LAKE, NOW_MS)
    whole = parquet_rows(tmp_path)
    assert (await tables.retain("candles", HOUR_MS, BEGIN_MS + 50 * 24 * HOUR_MS)).rows == 0
    async with tables.snapshot() as snapshot:
        left = (await snapshot.versions([rows.key], 0, NOW_MS))[rows.key].times
    assert len(left) < 40 * 24  # from the middle of February on
    assert (await export(tables, tmp_path, LAKE, NOW_MS + 1)).written == 0
    # A correction in the month that is there in part, whose file a kill has left unknown.
    await tables.store([at(rows, -600, times=2.0)], NOW_MS + 2)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    del manifest["files"][HOURS.format("2026-02")]
    manifest["writing"] = [HOURS.format("2026-02")]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert (await export(tables, tmp_path, LAKE, NOW_MS + 3)).written == 1
    corrected = whole[rows.key][-600]
    whole[rows.key][-600] = (corrected[0], tuple(2 * v for v in corrected[1]), NOW_MS + 2)
    assert parquet_rows(tmp_path) == whole
    # What is damaged cannot be had again; it is told, and the rest is written.
    (tmp_path / HOURS.format("2026-02")).write_bytes(b"PAR1")
    (tmp_path / HOURS.format("2026-01")).unlink()
    lines: list[str] = []
    await export(tables, tmp_path, LAKE, NOW_MS + 4, tell=lines.append)
    assert [line for line in lines if "2026-01" in line and "is gone" in line]
    assert [line for line in lines if "2026-02" in line and "was damaged" in line]
    found = parquet_rows(tmp_path)
    assert found == {key: [r for r in each if r[0] >= left[0]] for key, each in whole.items()}


@pytest.mark.parametrize("form", ["csv", "freqtrade"])
async def test_files_of_markets(database: Database, tmp_path: Path, form: Any) -> None:
    tables, rows = database.history, hours("AUSDT")
    names = ("../../x", "-.BUSDT", "龙虾USDT", "x" * 90, "a/b\\c\n%2F:USDT")
    await tables.store([rows, *(hours(name, 3) for name in names), funding("AUSDT", 12)], NOW_MS)
    pairs = {
        ("binance", "龙虾USDT"): Pair("龙虾", "USDT"),
        ("binance", "-.BUSDT"): Pair(".B", "USDT"),
    }
    lines: list[str] = []
    root = tmp_path / "x" / "y" / "root"
    await export(tables, root, Wanted(form), NOW_MS, pairs=pairs, tell=lines.append)
    assert not outside(tmp_path, root)
    before = identities(root)
    assert all(line.isprintable() for line in before)
    left_out = [line for line in lines if line.startswith("left out")]
    if form == "csv":
        assert not left_out and len(before) == 7
        assert len(csv_rows(root / "candles" / "binance" / "1h" / "%2E.%2F..%2Fx.csv")) == 3
        text = (root / "candles" / "binance" / "1h" / "AUSDT.csv").read_text()
        assert text.splitlines()[:2] == [
            "open_time,open,high,low,close,volume,turnover,known_at",
            f"{BEGIN_MS},{','.join(repr(value) for value in rows.values[0].tolist())},{NOW_MS}",
        ]
    else:
        assert len(left_out) == 3  # two have no quote in their symbols, one signs of a path
        assert "binance/futures/_B_USDT_USDT-1h-futures.feather" in before
        assert "binance/futures/龙虾_USDT_USDT-1h-futures.feather" in before
        assert "binance/futures/A_USDT_USDT-1h-funding_rate.feather" in before
        assert "binance/futures/A_USDT_USDT-1h-mark.feather" in before
    await tables.store([at(rows, 7, times=1.5)], NOW_MS + 1)
    await export(tables, root, Wanted(form), NOW_MS + 1, pairs=pairs)
    assert all("AUSDT" in path or "A_USDT" in path for path in changed(root, before))
    assert len(changed(root, before)) == (1 if form == "csv" else 2)  # with mark prices


async def test_what_is_refused_changes_nothing(database: Database, tmp_path: Path) -> None:
    tables = database.history
    await tables.store([hours("AUSDT"), hours("BUSDT")], NOW_MS)

    async def refused(root: Path, wanted: Wanted, *words: str) -> None:
        before = identities(root)
        with pytest.raises(ExportError) as error:
            await export(tables, root, wanted, NOW_MS)
        assert all(word in str(error.value) for word in (str(root.name), *words))
        assert identities(root) == before

    lake, other = tmp_path / "lake", tmp_path / "other"
    await export(tables, lake, LAKE, NOW_MS)
    await refused(lake, Wanted("csv"), "--format parquet", "another folder")
    await refused(lake, LAKE.of_symbols(frozenset({"AUSDT"})), "all markets", "AUSDT")
    with pytest.raises(ExportError, match=r"2026-01-01T00:00:00Z to 2026-02-01.*whole months"):
        await export(tables, lake, Wanted("parquet", from_ms=BEGIN_MS + HOUR_MS), NOW_MS)
    # Whole months of it may be brought up to date alone.
    await export(tables, lake, Wanted("parquet", from_ms=FEBRUARY_MS), NOW_MS)
    with LakeFolder(lake).locked(), pytest.raises(FolderInUse):
        await export(tables, lake, LAKE, NOW_MS)
    manifest = lake / "manifest.json"
    content = manifest.read_bytes()
    for text, word in (
        (content[: len(content) // 2], "is damaged"),
        (b'{"format": "perpcache-export", "version": 2}', "the version 2"),
        (b'{"format": "web app", "version": 1}', "not of an export"),
        (b"[]", "is damaged"),
    ):
        manifest.write_bytes(text)
        await refused(lake, LAKE, word)
    foreign = other / "candles" / "binance" / "1h" / "AUSDT.csv"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    await refused(other, Wanted("csv"), "AUSDT.csv", "Move it away")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="file"):
        await export(tables, tmp_path / "file", LAKE, NOW_MS)


async def test_a_full_disk_is_told_and_what_is_complete_stays(
    database: Database, make_disk: MakeDisk
) -> None:
    tables, disk = database.history, make_disk(2)
    await tables.store([hours("AUSDT")], NOW_MS)
    await export(tables, disk, Wanted("parquet", to_ms=FEBRUARY_MS), NOW_MS)
    before = parquet_rows(disk)
    filler = fill(disk)
    for form in ("parquet", "csv"):
        with pytest.raises(ExportError, match=r"is full \(No space left on device\)"):
            await export(tables, disk if form == "parquet" else disk / form, LAKE, NOW_MS)
        assert parquet_rows(disk) == before
        assert not leftovers(disk)
    filler.unlink()
    await export(tables, disk, LAKE, NOW_MS)
    assert sum(map(len, parquet_rows(disk).values())) == 70 * 24


def kills(url: str, root: Path, at_event: int) -> bool:
    """Exports in a process that ends before it opens or changes its n-th file; whether it did."""
    child = os.fork()
    if child == 0:
        try:
            _export_until(url, root, at_event)
            os._exit(0)
        finally:
            os._exit(2)
    return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9)


def _export_until(url: str, root: Path, at_event: int) -> None:
    left = at_event

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(root) in str(
            arguments[0]
        ):
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(count)

    async def run() -> None:
        database = Database(url)
        await export(database.history, root, LAKE, NOW_MS + 10)
        await database.aclose()

    asyncio.run(run())


@pytest.fixture
async def filled(database: Database, database_url: str) -> str:
    rows = [hours("AUSDT", 40 * 24), hours("BUSDT", 40 * 24)]
    await database.history.store(rows, NOW_MS)
    return database_url


def test_a_kill_at_any_place_leaves_a_lake(filled: str, tmp_path: Path) -> None:
    async def run(root: Path, as_of_ms: int, *rows: SeriesRows) -> dict[str, str]:
        database = Database(filled)
        try:
            if rows:
                await database.history.store(rows, as_of_ms)
            await export(database.history, root, LAKE, as_of_ms)
        finally:
            await database.aclose()
        return digests(root)

    def digests(root: Path) -> dict[str, str]:
        return {
            str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in root.rglob("*.parquet")
        }

    lake = tmp_path / "lake"
    old = asyncio.run(run(lake, NOW_MS))
    new = asyncio.run(run(tmp_path / "new", NOW_MS + 10, at(hours("AUSDT"), 3, -800, times=2.0)))
    assert old.keys() == new.keys() and old != new
    ended = 0
    while kills(filled, lake, ended * 3):
        ended += 1
        found = digests(lake)
        assert all(found[path] in (old[path], new[path]) for path in old)
        assert found.keys() == old.keys()
    assert ended > 5
    assert digests(lake) == new
    assert not leftovers(lake)
    parquet_rows(lake)


async def test_one_market_that_is_filled_in_again_costs_no_other(
    database: Database, tmp_path: Path
) -> None:
    """What retention has removed of one market stays, though another has rows of that time again:
    a backfill or an import brought them."""
    tables, a, b = database.history, hours("AUSDT"), hours("BUSDT")
    await tables.store([a, b], NOW_MS)
    await tables.compact(NOW_MS + 1)
    await export(tables, tmp_path, LAKE, NOW_MS)
    whole = parquet_rows(tmp_path)
    await tables.retain("candles", HOUR_MS, BEGIN_MS + 50 * 24 * HOUR_MS)
    some = FillRows(a.key, BEGIN_MS, BEGIN_MS + 24 * HOUR_MS, a.times[:24], a.values[:24])
    await tables.fill([some], "rest", NOW_MS + 2)
    await export(tables, tmp_path, LAKE, NOW_MS + 3)
    again = parquet_rows(tmp_path)
    assert again[b.key] == whole[b.key]
    assert [row[0] for row in again[a.key]] == [row[0] for row in whole[a.key]]
