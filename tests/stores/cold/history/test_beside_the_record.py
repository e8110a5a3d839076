"""What is noted beside the record: wishes, imported files, asked holes, documents' windows."""

from collections.abc import AsyncIterator, Sequence

import pytest

from database import (
    ArchiveFile,
    Database,
    DocumentWindow,
    Filled,
    FillRows,
    NotedHole,
    Publish,
    SeriesKey,
    SeriesRows,
    write_archive_file,
    write_publish,
)
from market.timeframes import HOUR_MS
from stores.cold.pool import Connection
from tests.stores.cold.history.test_filling import KEY, M5, NOW, OI, T0, rows


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


async def test_a_wish_from_its_beginning_to_its_end(database: Database) -> None:
    wishes = database.backfills
    first = await wishes.add({"symbols": ["币USDT"], "from_ms": 5}, NOW)
    second = await wishes.add({}, NOW + 1)
    assert [wish.id for wish in await wishes.open()] == [first, second]
    assert await wishes.start(first, NOW + 2)
    assert await wishes.progress(first, done=3, total=9, requests=2, rows=700)
    assert await wishes.start(first, NOW + 9)  # taken up again by another process
    found = await wishes.find(first)
    assert found is not None
    assert (found.wanted, found.state) == ({"symbols": ["币USDT"], "from_ms": 5}, "running")
    assert (found.requested_at_ms, found.started_at_ms) == (NOW, NOW + 2)
    assert (found.done, found.total, found.requests, found.rows) == (3, 9, 2, 700)
    assert await wishes.finish(first, "failed", NOW + 10, "it \0 \ud800 broke")
    # One that is over stays as it is.
    assert not await wishes.cancel(first, NOW + 11)
    assert not await wishes.start(first, NOW + 11)
    assert await wishes.cancel(second, NOW + 12)
    assert not await wishes.progress(second, done=1, total=1, requests=1, rows=1)
    assert not await wishes.cancel(999, NOW)
    newest = await wishes.newest(10)
    assert [(wish.id, wish.state, wish.finished_at_ms) for wish in newest] == [
        (second, "cancelled", NOW + 12),
        (first, "failed", NOW + 10),
    ]
    assert newest[1].error == "it \\x00 \\ud800 broke"
    assert (await wishes.open(), await wishes.find(999)) == ([], None)


async def test_an_imported_file_is_noted_with_its_rows_or_not_at_all(database: Database) -> None:
    file = ArchiveFile("a/b.zip", "ab" * 32, '"e"', 10, 1, NOW)

    async def note(connection: Connection) -> None:
        await write_archive_file(connection, file)

    async def fail(connection: Connection) -> None:
        await note(connection)
        raise RuntimeError("no")

    names = ["a/b.zip", "other"]
    with pytest.raises(RuntimeError, match="no"):
        await database.history.fill([rows([0])], "archive", NOW, within=fail)
    assert await database.archive_files.find(names) == {}
    assert await database.history.gaps(OI, T0, T0 + M5) == [(T0, T0 + M5)]
    await database.history.fill([rows([0])], "archive", NOW, within=note)
    assert await database.archive_files.find(names) == {file.name: file}
    again = ArchiveFile("a/b.zip", "cd" * 32, None, 11, 2, NOW + 1)
    await database.archive_files.add(again)
    assert await database.archive_files.find(names) == {file.name: again}


async def test_retention_takes_what_is_noted_of_the_time_before(database: Database) -> None:
    history, slot_ms = database.history, 576 * M5
    await history.fill([rows(range(0, 1400, 7), key=KEY, covered=True)], "rest", NOW)
    await history.fill([rows(range(100), covered=True)], "rest", NOW)
    early = NotedHole(T0, T0 + M5, M5, "asked", 1, 2)
    late = NotedHole(T0 + M5, T0 + 600 * M5, M5, "not_asked")
    await database.holes.note(("binance", "BTCUSDT"), {KEY: [early, late], OI: [early]}, NOW)
    gone = await history.retain("candles", M5, T0 + slot_ms + 5)
    assert (gone.chunks, gone.rows) == (1, 0)
    # As if nothing had ever been asked for of the time before; of other series all is as it was.
    end_ms = T0 + 1394 * M5
    covered = await history.coverage([KEY, OI])
    assert [(each.from_ms, each.to_ms) for each in covered[KEY]] == [(T0 + slot_ms, end_ms)]
    assert [(each.from_ms, each.to_ms) for each in covered[OI]] == [(T0, T0 + 100 * M5)]
    assert await history.missing(KEY, T0, end_ms) == [(T0, T0 + slot_ms)]
    assert await history.missing(KEY, T0 + slot_ms, end_ms) == []
    assert await database.holes.noted([KEY, OI]) == {
        KEY: [NotedHole(T0 + slot_ms, T0 + 600 * M5, M5, "not_asked")],
        OI: [early],
    }
    assert (await history.retain("candles", M5, T0 + 10 * slot_ms)).chunks == 2
    assert (await history.coverage([KEY]))[KEY] == []


async def test_the_windows_of_the_newest_versions(database: Database) -> None:
    as_of_ms = T0 + HOUR_MS + 1

    def publish(
        document: str, version: int, first_ms: int | None, stale: Sequence[object]
    ) -> Publish:
        base = version - 1 or None
        universe = [("binance", "BTCUSDT", "BTC", "USDT"), ("bybit", "A", "A", "USDT")][:version]
        times = {"updated_at_ms": as_of_ms + version, "as_of_ms": as_of_ms}
        return Publish(
            document, base, version, **times, first_ms=first_ms, candles=None,
            funding_updated_ms=None, universe=universe, missing=[], stale=stale, entry=b"",
        )  # fmt: skip

    stale = [["bybit", "A", 1, T0 - 5 * HOUR_MS, 1], ["bybit", "B", 1, None, 1]]
    for each in (
        publish("1h", 1, T0 - 9 * HOUR_MS, []),
        publish("1h", 2, T0 - HOUR_MS, stale),
        publish("global_fr", 1, None, []),
    ):

        async def write(connection: Connection, each: Publish = each) -> None:
            await write_publish(connection, each, 1)

        none: list[SeriesRows] = []
        await database.history.store(none, 1, within=write)
    both = frozenset({("binance", "BTCUSDT"), ("bybit", "A")})
    assert await database.publishes.windows() == {
        "1h": DocumentWindow(T0 - 5 * HOUR_MS, T0, as_of_ms + 2, both),
        "global_fr": DocumentWindow(
            None, as_of_ms, as_of_ms + 1, frozenset({("binance", "BTCUSDT")})
        ),
    }


async def test_what_a_later_release_has_written_takes_nothing_and_is_not_answered(
    database: Database,
) -> None:
    history, slot_ms = database.history, 576 * M5
    await history.fill([rows(range(600, 700), key=KEY)], "rest", NOW)

    async def damage(connection: Connection) -> None:
        await connection.execute("UPDATE history_chunks SET checksum = checksum # 1")

    async def write_later(connection: Connection) -> None:
        await connection.execute("UPDATE history_chunks SET format = 9")

    # What is damaged is filled in again, and counts as answered then.
    await history.store([], 1, within=damage)
    some = rows(range(580, 720), key=KEY, covered=True)
    assert await history.fill([some], "rest", NOW) == Filled(added=140)
    assert len((await history.coverage([KEY]))[KEY]) == 1
    await history.retain("candles", M5, T0 + 3 * slot_ms)
    await history.fill([rows(range(600, 700), key=KEY)], "rest", NOW)
    await history.store([], 1, within=write_later)
    names = ["币安USDT", "A\0USDT"]
    others = [rows([0], key=SeriesKey.open_interest("binance", name)) for name in names]
    filled = await history.fill(
        [rows(range(1400), 2.0, key=KEY, covered=True), *others], "rest", NOW + 1
    )
    assert (filled.added, filled.damaged, filled.refused) == (1400 - 576 + 1, 576, (others[1].key,))
    assert [(each.from_ms, each.to_ms) for each in (await history.coverage([KEY]))[KEY]] == [
        (T0, T0 + slot_ms),
        (T0 + 2 * slot_ms, T0 + 1400 * M5),
    ]
    # Nobody is asked for what it holds; what lies beside it could not be stored.
    assert await history.missing(KEY, T0, T0 + 1400 * M5) == [
        (T0 + slot_ms, T0 + 600 * M5),
        (T0 + 700 * M5, T0 + 2 * slot_ms),
    ]


async def test_series_that_only_were_answered_for_are_there(database: Database) -> None:
    empty = FillRows(OI, T0, T0 + M5, rows([0]).times[:0], rows([0]).values[:0], covered=True)
    await database.history.fill([empty], "rest", NOW)
    assert len((await database.history.coverage([OI]))[OI]) == 1
    assert await database.history.missing(OI, T0, T0 + M5) == []
    assert await database.history.gaps(OI, T0, T0 + M5) == [(T0, T0 + M5)]
