"""Imports on a real PostgreSQL: what goes in, what stays, and what an import leaves alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from database import Database, FillRows, Publish, SeriesKey, SeriesRows, write_publish
from documents.names import GLOBAL_FR
from history.archive.names import parse_name
from history.found_files import find_files
from history.importing import FileReport, Importer
from market.timeframes import Timeframe
from stores.cold.pool import Connection
from tests.history.archive.files import (
    DAY,
    FUNDING,
    H1,
    KLINES,
    M5,
    METRICS,
    kline,
    metric,
    ms,
    text_of,
    write_zip,
)

MARCH = ms("2026-03-01")
CHANGE = ms("2026-06-25")
NOW = ms("2026-11-30 12:00")
BTC = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1)
BTC_5M = SeriesKey.candles("binance", "BTCUSDT", Timeframe.M5)
INTEREST = SeriesKey.open_interest("binance", "BTCUSDT")
SETTLED = SeriesKey.funding("binance", "BTCUSDT")
NAME = "BTCUSDT-1h-2026-03-01.zip"
OTHER = ("10", "12", "9", "11.5", "5", "55")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


class Clock:
    """Each moment is a second later than the one before."""

    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        self.now_ms += 1000
        return self.now_ms


async def brought_in(database: Database, folder: Path, **options: bool) -> list[FileReport]:
    """Imports all files of the folder, as the command does."""
    found = find_files([folder])
    importer = Importer(database, Clock(), beside=found.archive, **options)
    reports = [await importer.archive_file(path, name) for name, path in found.archive]
    return reports + [await importer.exported_file(file) for file in found.exported]


async def rows_of(database: Database, key: SeriesKey) -> dict[int, tuple[float, ...]]:
    async with database.history.snapshot() as snapshot:
        found = (await snapshot.versions([key], 0, 10**14))[key]
    return dict(zip(found.times.tolist(), map(tuple, found.values.tolist()), strict=True))


async def versions_of(
    database: Database, key: SeriesKey, time_ms: int
) -> list[tuple[float, int, int]]:
    """Every version of a row: its close or value, and since and until when it was known."""
    async with database.history.snapshot() as snapshot:
        found = (await snapshot.revisions([key], time_ms, time_ms + 1))[key]
    column = found.values[:, 3 if key.kind == "candles" else 0].tolist()
    return list(zip(column, found.known_from.tolist(), found.known_to.tolist(), strict=True))


def hours(count: int, begin: int = 0) -> list[str]:
    return [kline(MARCH + place * H1, H1) for place in range(begin, begin + count)]


def as_rows(key: SeriesKey, times: Sequence[int], values: Sequence[Sequence[float]]) -> SeriesRows:
    return SeriesRows(key, np.array(times, np.int64), np.array(values, np.float64))


async def test_a_file_goes_in_once(database: Database, tmp_path: Path) -> None:
    write_zip(tmp_path, NAME, [KLINES, *hours(24)], checksum=True)
    (report,) = await brought_in(database, tmp_path)
    assert (report.state, report.filled.added, report.rows) == ("imported", 24, 24)
    expected = {MARCH + place * H1: (10.0, 12.0, 9.0, 11.0, 5.0, 55.0) for place in range(24)}
    assert await rows_of(database, BTC) == expected
    (noted,) = (await database.archive_files.find([NAME])).values()
    assert (noted.rows, noted.size) == (24, (tmp_path / NAME).stat().st_size)
    ((_, known_at, _),) = await versions_of(database, BTC, MARCH)
    assert known_at > NOW
    (again,) = await brought_in(database, tmp_path)
    assert again.state == "known"
    (third,) = await brought_in(database, tmp_path, again=True)
    assert (third.state, third.filled.unchanged, third.filled.added) == ("imported", 24, 0)


async def test_what_falls_into_chunks_of_a_later_release_is_imported_again(
    database: Database, tmp_path: Path
) -> None:
    """Once the release that can read them imports the file, as nothing of it was stored."""

    async def set_format(number: int) -> None:
        async def write(connection: Connection) -> None:
            await connection.execute("UPDATE history_chunks SET format = format + $1::int", number)

        await database.history.store([], 1, within=write)

    write_zip(tmp_path, NAME, [KLINES, *hours(12)])
    await brought_in(database, tmp_path)
    await set_format(9)
    (tmp_path / NAME).unlink()
    write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    (report,) = await brought_in(database, tmp_path)
    assert (report.filled.damaged, report.is_whole) == (24, False)
    await set_format(-9)
    (again,) = await brought_in(database, tmp_path)
    assert (again.state, again.filled.added, again.filled.unchanged) == ("imported", 12, 12)
    (third,) = await brought_in(database, tmp_path)
    assert third.state == "known"


async def test_a_file_that_was_replaced_corrects_what_it_brought(
    database: Database, tmp_path: Path
) -> None:
    write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    await brought_in(database, tmp_path)
    write_zip(tmp_path, NAME, [KLINES, kline(MARCH, H1, OTHER), *hours(23, 1)])
    (report,) = await brought_in(database, tmp_path)
    assert (report.filled.corrected, report.filled.unchanged) == (1, 23)
    first, second = await versions_of(database, BTC, MARCH)
    assert (first[0], second[0]) == (11.0, 11.5)
    assert first[2] == second[1]


async def test_what_was_asked_of_the_exchange_stays(database: Database, tmp_path: Path) -> None:
    """The archive's value is one among all versions, and never in force."""
    ours = as_rows(BTC, [MARCH], [[10, 12, 9, 11.25, 5, 55]])
    await database.history.store([ours], NOW - DAY)
    await database.history.fill(
        [FillRows(BTC, MARCH + H1, MARCH + 2 * H1, ours.times + H1, ours.values)], "rest", NOW - DAY
    )
    write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    (report,) = await brought_in(database, tmp_path)
    assert (report.filled.kept, report.filled.added) == (2, 22)
    for time_ms in (MARCH, MARCH + H1):
        assert (await rows_of(database, BTC))[time_ms][3] == 11.25
        assert {each[0] for each in await versions_of(database, BTC, time_ms)} == {11.0, 11.25}
    (again,) = await brought_in(database, tmp_path, again=True)
    assert len(await versions_of(database, BTC, MARCH)) == 2
    assert again.filled.added == 0


async def test_the_window_of_documents_is_left_to_them(database: Database, tmp_path: Path) -> None:
    await _publish(database, "1h", MARCH + 12 * H1, MARCH + 20 * H1)
    await _publish(database, GLOBAL_FR, MARCH + 8 * H1, MARCH + 20 * H1)
    write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    write_zip(tmp_path, "ETHUSDT-1h-2026-03-01.zip", [KLINES, *hours(24)])
    settlements = [f"{MARCH + hour * H1},8,0.0001" for hour in (0, 8, 16)]
    write_zip(tmp_path, "BTCUSDT-fundingRate-2026-03.zip", [FUNDING, *settlements])
    write_zip(
        tmp_path, "BTCUSDT-metrics-2026-03-01.zip",
        [METRICS, *(metric(MARCH + place * M5, "7", "70") for place in range(1, 289))],
    )  # fmt: skip
    bitcoin, ether, funding, metrics = await brought_in(database, tmp_path)
    # The newest closed candle of that document is the one of 19:00.
    told = [MARCH + hour * H1 for hour in (*range(12), *range(20, 24))]
    assert list(await rows_of(database, BTC)) == told
    assert (bitcoin.left, bitcoin.filled.added) == (8, 16)
    assert (ether.left, ether.filled.added) == (0, 24)
    assert (funding.left, list(await rows_of(database, SETTLED))) == (2, [MARCH])
    assert (metrics.left, metrics.filled.added) == (0, 288)


async def test_what_the_next_document_tells_is_left_to_it(
    database: Database, tmp_path: Path
) -> None:
    """It may be published already, and not recorded yet: its rows are known since then."""
    await _publish(database, "1h", MARCH + 12 * H1, MARCH + 20 * H1)
    path = write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    importer = Importer(database, lambda: MARCH + 22 * H1)
    report = await importer.archive_file(path, parse_name(path))
    assert (report.filled.added, report.left, report.forming) == (12, 10, 2)
    # A document that comes no more leaves them to the file.
    importer = Importer(database, lambda: MARCH + 30 * H1, again=True)
    report = await importer.archive_file(path, parse_name(path))
    assert (report.filled.added, report.left) == (4, 8)


async def test_a_document_that_comes_while_a_file_is_imported_keeps_its_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The windows were read before it, and are still fresh."""
    path = write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    fill = database.history.fill
    windows: list[Any] = []

    async def late(*arguments: Any, **options: Any) -> Any:
        if not windows:
            windows.append(await database.publishes.windows())
            await _publish(database, "1h", MARCH + 12 * H1, MARCH + 20 * H1)
        return await fill(*arguments, **options)

    monkeypatch.setattr(database.history, "fill", late)
    (report,) = await brought_in(database, tmp_path)
    assert windows == [{}]
    assert (report.filled.added, report.left, path.name) == (16, 8, report.name)
    told = [MARCH + hour * H1 for hour in (*range(12), *range(20, 24))]
    assert list(await rows_of(database, BTC)) == told
    assert list(await database.archive_files.find([NAME])) == [NAME]


async def _publish(database: Database, document: str, first_ms: int, as_of_ms: int) -> None:
    publish = Publish(
        document, None, 1, as_of_ms, as_of_ms, first_ms, 499, None,
        [("binance", "BTCUSDT", "BTC", "USDT")], [], [], b"",
    )  # fmt: skip
    await database.history.store(
        [], as_of_ms, within=lambda connection: write_publish(connection, publish, as_of_ms)
    )


async def test_a_settlement_that_is_recorded_keeps_its_time(
    database: Database, tmp_path: Path
) -> None:
    await database.history.store([as_rows(SETTLED, [MARCH + 8 * H1 + 11], [[0.0001]])], NOW - DAY)
    write_zip(
        tmp_path, "BTCUSDT-fundingRate-2026-03.zip",
        [FUNDING, f"{MARCH + 3},8,0.0002", f"{MARCH + 8 * H1},8,0.0001"],
    )  # fmt: skip
    (report,) = await brought_in(database, tmp_path)
    assert (report.filled.added, report.filled.unchanged) == (1, 1)
    found = {time_ms: value[0] for time_ms, value in (await rows_of(database, SETTLED)).items()}
    assert found == {MARCH + 3: 0.0002, MARCH + 8 * H1 + 11: 0.0001}


def _day_files(
    folder: Path, day_ms: int, shift_ms: int, *, candles: bool = True, first: int = 0
) -> None:
    """A day of 5m candles whose opens move, and metrics whose labels are `shift_ms` early, from the
    `first` instant of the day on."""
    day = str(np.datetime64(day_ms, "ms").astype("datetime64[D]"))

    def price(moment_ms: int) -> float:
        return 100 + (moment_ms // M5 * 7919 % 13) / 4

    klines = []
    for place in range(288):
        opened, closed = (price(day_ms + (place + end) * M5) for end in (0, 1))
        low, high = sorted((opened, closed))
        texts = [f"{value:.2f}" for value in (opened, high, low, closed, 5, 500)]
        klines.append(kline(day_ms + place * M5, M5, texts))
    labels = [day_ms + place * M5 for place in range(first, first + 288)]
    lines = [metric(t, "1000", f"{1000 * price(t + shift_ms):.4f}") for t in labels]
    if candles:
        write_zip(folder, f"BTCUSDT-5m-{day}.zip", [KLINES, *klines])
    write_zip(folder, f"BTCUSDT-metrics-{day}.zip", [METRICS, *lines])


@pytest.mark.parametrize("dry_run", [False, True])
async def test_candles_of_the_same_import_tell_what_labels_mean(
    database: Database, tmp_path: Path, dry_run: bool
) -> None:
    """Against the day of the file, whose snapshots are 5 minutes later already."""
    _day_files(tmp_path, CHANGE - DAY, M5)
    candles, metrics = await brought_in(database, tmp_path, dry_run=dry_run)
    assert candles.name.startswith("BTCUSDT-5m-")
    assert metrics.notes == ["5m candles say that labels mean the snapshot 5 minutes later"]
    assert metrics.filled.added == 288
    found = await rows_of(database, INTEREST)
    assert list(found)[:1] == ([] if dry_run else [CHANGE - DAY + M5])


async def test_candles_of_the_record_tell_what_labels_mean(
    database: Database, tmp_path: Path
) -> None:
    _day_files(tmp_path, CHANGE, 0)
    await brought_in(database, tmp_path)
    (tmp_path / "BTCUSDT-5m-2026-06-25.zip").unlink()
    (metrics,) = await brought_in(database, tmp_path, again=True)
    assert metrics.notes == ["5m candles say that labels mean the snapshot at that time"]
    assert next(iter(await rows_of(database, INTEREST))) == CHANGE


async def test_without_candles_the_day_tells_what_labels_mean(
    database: Database, tmp_path: Path
) -> None:
    for day_ms, first in ((CHANGE - DAY, 1), (CHANGE, 0)):
        _day_files(tmp_path, day_ms, 0, candles=False, first=first)
    before, after = await brought_in(database, tmp_path)
    assert before.notes[0].startswith("no 5m candles helped: its day says")
    assert after.notes[0].endswith("5 minutes later")
    found = list(await rows_of(database, INTEREST))
    assert found == [CHANGE - DAY + place * M5 for place in range(1, 577)]


async def test_candles_of_another_price_refuse_the_metrics(
    database: Database, tmp_path: Path
) -> None:
    _day_files(tmp_path, CHANGE, M5)
    lines = [metric(CHANGE + place * M5, "1000", "123456.7") for place in range(288)]
    write_zip(tmp_path, "BTCUSDT-metrics-2026-06-25.zip", [METRICS, *lines])
    candles, metrics = await brought_in(database, tmp_path)
    assert (candles.state, metrics.state) == ("imported", "refused")
    assert "neither reading of its labels fits" in str(metrics.cause)
    assert await rows_of(database, INTEREST) == {}
    assert not await database.archive_files.find(["BTCUSDT-metrics-2026-06-25.zip"])


async def test_a_file_that_is_not_whole_yet_is_read_again(
    database: Database, tmp_path: Path
) -> None:
    today = NOW - NOW % DAY
    name = "BTCUSDT-1h-2026-11-30.zip"
    write_zip(tmp_path, name, [kline(today + place * H1, H1) for place in range(14)])
    (report,) = await brought_in(database, tmp_path)
    assert (report.filled.added, report.forming) == (12, 2)
    assert not await database.archive_files.find([name])


async def test_a_dry_run_writes_nothing(database: Database, tmp_path: Path) -> None:
    await database.history.store([as_rows(BTC, [MARCH], [[10, 12, 9, 11.25, 5, 55]])], NOW - DAY)
    write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    (report,) = await brought_in(database, tmp_path, dry_run=True)
    assert (report.filled.added, report.differing) == (23, 1)
    assert len(await rows_of(database, BTC)) == 1
    assert not await database.archive_files.find([NAME])


async def test_an_import_that_is_killed_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after the transaction of each file."""
    names = [f"BTCUSDT-1h-2026-03-0{day}.zip" for day in range(1, 5)]
    for place, name in enumerate(names):
        lines = [kline(MARCH + place * DAY + hour * H1, H1) for hour in range(24)]
        write_zip(tmp_path, name, lines)
    fill = database.history.fill
    for stored in (False, True) * len(names):

        async def killed(*rows: Any, stored: bool = stored, **how: Any) -> None:
            if stored:
                await fill(*rows, **how)
            raise asyncio.CancelledError

        monkeypatch.setattr(database.history, "fill", killed)
        with pytest.raises(asyncio.CancelledError):
            await brought_in(database, tmp_path)
    monkeypatch.undo()
    assert {report.state for report in await brought_in(database, tmp_path)} == {"known"}
    assert list(await rows_of(database, BTC)) == [MARCH + hour * H1 for hour in range(96)]


async def test_one_bad_file_does_not_stop_the_others(database: Database, tmp_path: Path) -> None:
    good = write_zip(tmp_path, NAME, [KLINES, *hours(24)])
    (tmp_path / "ETHUSDT-1h-2026-03-01.zip").write_bytes(good.read_bytes()[:100])
    (tmp_path / "XRPUSDT-1h-2026-03-01.csv").write_bytes(text_of([*hours(20), "x", *hours(1, 21)]))
    (tmp_path / "notes.txt").write_text("x")
    found = find_files([tmp_path, tmp_path / "absent.zip"])
    assert [path.name for path, _ in found.unknown] == ["notes.txt", "absent.zip"]
    good_report, bad, partly = await brought_in(database, tmp_path)
    assert good_report.is_whole
    assert (bad.state, bad.is_whole) == ("refused", False)
    assert "truncated" in str(bad.cause)
    assert (partly.state, partly.filled.added, partly.is_whole) == ("imported", 21, False)
    assert list(partly.refusals.texts()) == ["line 21: 1 columns in place of 12"]
