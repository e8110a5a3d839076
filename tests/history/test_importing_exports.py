"""Exports are imported again: every value with the time since which it was known."""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from arro3.io import write_parquet

from database import Database, SeriesKey, SeriesRows
from history.archive.errors import ArchiveError
from history.exported.files import parse_path
from history.exported.rows import read_rows
from history.found_files import find_files
from history.importing import FileReport, Importer
from market.timeframes import Timeframe
from tests.history.archive.files import H1, M5, ms

MARCH = ms("2026-03-01")
NOW = ms("2026-11-30 12:00")
KNOWN = ms("2026-03-02 00:00:07")
BTC = SeriesKey.candles("bybit", "BTCUSDT", Timeframe.H1)
LAKE = "candles/exchange=bybit/timeframe=1h/month=2026-03/part-0.parquet"
CSV = "candles/bybit/1h/BTCUSDT.csv"
CANDLES = ("open", "high", "low", "close", "volume", "turnover")
CSV_ROWS = (
    f"open_time,open,high,low,close,volume,turnover,known_at\n"
    f"{MARCH},0.1,0.3,0.1,0.25,1000.5,,{KNOWN}\n"
    f"{MARCH + H1},0.25,0.25,-0.0,1e-8,0,1263866286.41699,{KNOWN + 5}\n"
)
VALUES = [
    [0.1, 0.3, 0.1, 0.25, 1000.5, np.nan],
    [0.25, 0.25, -0.0, 1e-8, 0.0, 1263866286.41699],
]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


def parquet(path: Path, rows: list[tuple[Any, ...]], names: tuple[str, ...], **told: str) -> None:
    """Writes rows of symbol, time, values and known_at, as exports have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = DataType.timestamp("ms", tz="UTC")
    types = [DataType.string(), time, *[DataType.float64()] * (len(names) - 3), time]
    columns = []
    for place, kind in enumerate(types):
        texts = [row[place] for row in rows]
        array = Array(texts, DataType.int64()).cast(kind) if kind == time else Array(texts, kind)
        columns.append(array)
    fields = [Field(name, kind) for name, kind in zip(names, types, strict=True)]
    metadata = {"perpcache": "perpcache-lake-1", **told}
    write_parquet(Table.from_arrays(columns, schema=Schema(fields, metadata=metadata)), path)


def lake(folder: Path, symbol: str = "BTCUSDT", name: str = LAKE) -> Path:
    texts = [[None if np.isnan(value) else value for value in line] for line in VALUES]
    rows = [(symbol, MARCH + place * H1, *texts[place], KNOWN + place * 5) for place in range(2)]
    parquet(
        folder / name, rows, ("symbol", "open_time", *CANDLES, "known_at"),
        kind="candles", exchange="bybit",
    )  # fmt: skip
    return folder / name


async def brought_in(
    database: Database, folder: Path, *, dry_run: bool = False, now_ms: int = NOW
) -> list[FileReport]:
    found = find_files([folder])
    importer = Importer(database, lambda: now_ms, dry_run=dry_run)
    assert not found.archive
    return [await importer.exported_file(file) for file in found.exported]


async def stored(database: Database, key: SeriesKey) -> tuple[list[int], bytes, list[int]]:
    async with database.history.snapshot() as snapshot:
        found = (await snapshot.versions([key], 0, 10**14))[key]
    return found.times.tolist(), found.values.tobytes(), found.known_at.tolist()


WHOLE = ([MARCH, MARCH + H1], np.array(VALUES).tobytes(), [KNOWN, KNOWN + 5])


async def test_an_export_goes_in_with_its_times_of_knowledge(
    database: Database, tmp_path: Path
) -> None:
    lake(tmp_path)
    (report,) = await brought_in(database, tmp_path)
    assert (report.cause, report.filled.added, report.rows) == (None, 2, 2)
    assert await stored(database, BTC) == WHOLE
    (again,) = await brought_in(database, tmp_path)
    assert again.state == "known"


async def test_csv_goes_in_as_well(database: Database, tmp_path: Path) -> None:
    place = tmp_path / CSV
    place.parent.mkdir(parents=True)
    place.write_text(CSV_ROWS)
    for name, value in (("open_interest", "5.5"), ("funding", "-0.0001")):
        other = tmp_path / name / "bybit" / "1000%25X.csv"
        other.parent.mkdir(parents=True)
        other.write_text(f"time,value,known_at\n{MARCH + M5},{value},{KNOWN}\n")
    reports = await brought_in(database, tmp_path)
    assert [(report.cause, report.filled.added) for report in reports] == [
        *((None, count) for count in (2, 1, 1))
    ]
    assert await stored(database, BTC) == WHOLE
    for key, number in (
        (SeriesKey.open_interest("bybit", "1000%X"), 5.5),
        (SeriesKey.funding("bybit", "1000%X"), -0.0001),
    ):
        assert await stored(database, key) == (
            [MARCH + M5], np.array([number]).tobytes(), [KNOWN],
        )  # fmt: skip


async def test_what_is_recorded_stays_and_the_other_is_a_version(
    database: Database, tmp_path: Path
) -> None:
    ours = SeriesRows(BTC, np.array([MARCH]), np.array([[1, 2, 1, 1.5, 7, 8.0]]))
    await database.history.store([ours], KNOWN + 1000)
    lake(tmp_path)
    (dry,) = await brought_in(database, tmp_path, dry_run=True)
    assert (dry.filled.added, dry.differing) == (1, 1)
    (report,) = await brought_in(database, tmp_path)
    assert (report.filled.kept, report.filled.added) == (1, 1)
    async with database.history.snapshot() as snapshot:
        found = (await snapshot.revisions([BTC], MARCH, MARCH + 1))[BTC]
    assert found.values[:, 3].tolist() == [0.25, 1.5]
    assert found.known_from.tolist() == [KNOWN, KNOWN + 1000]
    assert found.known_to.tolist()[0] == KNOWN


async def test_a_file_that_is_not_as_the_manifest_says_is_refused(
    database: Database, tmp_path: Path
) -> None:
    place = lake(tmp_path)
    sha256 = await asyncio.to_thread(lambda: hashlib.sha256(place.read_bytes()).hexdigest())
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(orjson.dumps({"files": {LAKE: {"sha256": sha256, "rows": 2}}}))
    (report,) = await brought_in(database, tmp_path, dry_run=True)
    assert report.cause is None
    manifest.write_bytes(orjson.dumps({"files": {LAKE: {"sha256": "0" * 64, "rows": 2}}}))
    (report,) = await brought_in(database, tmp_path)
    assert "the manifest says 0000" in str(report.cause)
    manifest.write_bytes(b"{")
    (report,) = await brought_in(database, tmp_path)
    assert "manifest.json cannot be read" in str(report.cause)
    assert await stored(database, BTC) == ([], b"", [])


def test_files_that_a_manifest_names_and_that_are_not_there_are_told(tmp_path: Path) -> None:
    """A folder that was copied in part would be imported in part, and the import would end well."""
    place = lake(tmp_path)
    gone = LAKE.replace("2026-03", "2026-02")
    told = {name: {"sha256": "0" * 64} for name in (gone, LAKE, "../../x")}
    (tmp_path / "manifest.json").write_bytes(orjson.dumps({"files": told}))
    found = find_files([tmp_path])
    assert [file.path for file in found.exported] == [place]
    assert found.unknown == [
        (tmp_path / gone, "manifest.json names it, and it is not there: export or copy it again")
    ]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "its header is , and that of an export open_time,open"),
        ("date,open,high,low,close,volume\n", "its header is date,open"),
        (CSV_ROWS[:-10], "line 3 is no row of an export"),
        (CSV_ROWS.replace("0.25", "x"), "line 2 is no row of an export"),
        (CSV_ROWS.replace(str(MARCH), f"{MARCH}.5"), "line 2 is no row of an export"),
        (CSV_ROWS.replace(str(MARCH), str(MARCH + 1)), "its rows of BTCUSDT cannot be stored"),
        (CSV_ROWS.replace(str(KNOWN), str(NOW + 1)), "its rows of BTCUSDT cannot be stored"),
        (CSV_ROWS + CSV_ROWS.splitlines()[1] + "\n", "its rows of BTCUSDT cannot be stored"),
    ],
)
async def test_what_is_no_row_of_an_export_is_refused(
    database: Database, tmp_path: Path, text: str, cause: str
) -> None:
    place = tmp_path / CSV
    place.parent.mkdir(parents=True)
    place.write_text(text)
    (report,) = await brought_in(database, tmp_path)
    assert report.state == "refused"
    assert str(report.cause).startswith(cause)
    assert await stored(database, BTC) == ([], b"", [])


async def test_foreign_parquet_is_refused(database: Database, tmp_path: Path) -> None:
    parquet(tmp_path / LAKE, [("BTCUSDT", MARCH, 1.0, KNOWN)], ("symbol", "t", "price", "known_at"))
    (report,) = await brought_in(database, tmp_path)
    assert "its columns are symbol, t, price, known_at, and those of an export" in str(report.cause)
    whole = lake(tmp_path)
    content = await asyncio.to_thread(whole.read_bytes)
    for end in (0, 3, len(content) // 2, len(content) - 1):
        whole.write_bytes(content[:end])
        (report,) = await brought_in(database, tmp_path)
        assert "no whole Parquet file of an export" in str(report.cause)
    found = find_files([lake(tmp_path / "x", name="other/BTCUSDT.parquet")])
    ((_, cause),) = found.unknown
    assert "candles/exchange=binance/timeframe=1h/month=2026-03/part-0.parquet" in cause


@pytest.mark.parametrize(
    "path",
    [
        "candles/exchange=bybit/month=2026-03/part-0.parquet",
        "candles/exchange=elsewhere/timeframe=1h/month=2026-03/part-0.parquet",
        "candles/exchange=bybit/timeframe=7h/month=2026-03/part-0.parquet",
        "candles/bybit/timeframe=1h/month=2026-03/part-0.parquet",
        "funding/exchange=bybit/timeframe=1h/month=2026-03/part-0.parquet",
        "candles/bybit/BTCUSDT.csv",
        "candles/bybit/1h/%FF.csv",
        "funding/bybit/1h/BTCUSDT.csv",
        "funding/bybit/BTCUSDT.txt",
    ],
)
def test_other_paths_are_of_no_export(path: str) -> None:
    assert parse_path(Path(path)) is None


def test_any_bytes_of_parquet_are_read_or_refused(tmp_path: Path) -> None:
    """Also those at which the library that reads them ends its process."""
    place = lake(tmp_path)
    whole = place.read_bytes()
    chosen = random.Random(5)  # noqa: S311 - no secret
    file = parse_path(place)
    assert file is not None
    assert len(list(read_rows(file))) == 1
    for _ in range(5):
        content = bytearray(whole)
        for _ in range(chosen.randrange(1, 12)):
            content[chosen.randrange(len(content))] = chosen.choice((0, 255, chosen.randrange(256)))
        place.write_bytes(content)
        with suppress(ArchiveError):
            for rows in read_rows(file):
                assert len(rows.times) == len(rows.values) == len(rows.known_at)


async def test_files_of_another_timeframe_are_refused(database: Database, tmp_path: Path) -> None:
    """Candles of 4h lie on the grid of 1h, too."""
    parquet(
        tmp_path / LAKE,
        [("BTCUSDT", MARCH, *VALUES[1], KNOWN)],
        ("symbol", "open_time", *CANDLES, "known_at"),
        kind="candles", exchange="bybit", interval_ms=str(4 * H1), timeframe="4h",
    )  # fmt: skip
    (report,) = await brought_in(database, tmp_path)
    assert report.cause == "its path says 1h, and it is of '4h'"
    assert await stored(database, BTC) == ([], b"", [])


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (CSV, f"{MARCH},1,2,1,1.5,3,4,{MARCH + H1 - 60_001}"),
        (CSV, f"{MARCH},1,2,1,1.5,3,inf,{KNOWN}"),
        (CSV, f"{MARCH},1,1e999,1,1.5,3,4,{KNOWN}"),
        ("funding/bybit/BTCUSDT.csv", f"{MARCH},0.1,{MARCH - 60_001}"),
        ("open_interest/bybit/BTCUSDT.csv", f"{MARCH},0.1,{MARCH - 60_001}"),
        ("open_interest/bybit/BTCUSDT.csv", f"{MARCH},-inf,{KNOWN}"),
    ],
)
async def test_what_cannot_have_been_known_is_refused(
    database: Database, tmp_path: Path, path: str, line: str
) -> None:
    place = tmp_path / path
    place.parent.mkdir(parents=True)
    names = ("open_time", *CANDLES, "known_at") if path == CSV else ("time", "value", "known_at")
    place.write_text(f"{','.join(names)}\n{line}\n")
    (report,) = await brought_in(database, tmp_path)
    assert str(report.cause).startswith("its rows of BTCUSDT cannot be stored")
    file = parse_path(place)
    assert file is not None
    assert await stored(database, file.key("BTCUSDT")) == ([], b"", [])


@pytest.mark.parametrize(("ours", "rows"), [((4,), (4,)), ((0, 4), (0, 4)), ((9,), (9,))])
async def test_two_settlements_of_a_minute_are_those_that_are_recorded(
    database: Database, tmp_path: Path, ours: tuple[int, ...], rows: tuple[int, ...]
) -> None:
    """A file of another installation has both of a minute, and one is recorded some ms later."""
    key = SeriesKey.funding("bybit", "BTCUSDT")
    recorded = np.array(ours) + MARCH
    await database.history.store([SeriesRows(key, recorded, recorded[:, None] * 0.0)], KNOWN)
    place = tmp_path / "funding/bybit/BTCUSDT.csv"
    place.parent.mkdir(parents=True)
    place.write_text(f"time,value,known_at\n{MARCH},0,{KNOWN}\n{MARCH + 4},0,{KNOWN}\n")
    (report,) = await brought_in(database, tmp_path)
    assert report.cause is None
    assert report.doubled == 2 - len(rows)
    assert (await stored(database, key))[0] == [MARCH + ms_late for ms_late in rows]


@pytest.mark.parametrize("name", ["x" * 300, "file.zip/y.zip", "absent.zip", "loop"])
def test_paths_that_cannot_be_looked_at_are_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.zip").touch()
    (tmp_path / "loop").symlink_to("loop")
    found = find_files([tmp_path / name])
    ((place, cause),) = found.unknown
    assert place == tmp_path / name
    assert cause.startswith(("there is no such file", "it cannot be read: "))


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the files in it would be missing, and the import would end well."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_files([tmp_path])
    assert found.unknown == [(tmp_path / "a", "it cannot be read: Permission denied")]
