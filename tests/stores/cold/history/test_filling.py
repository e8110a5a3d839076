"""Filling in: what each source may change, what is noted of it, and what is still to be asked."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import numpy as np
import pytest

from database import Covered, Database, Filled, FillRows, SeriesKey, SeriesRows, Source
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from stores.cold.history.codec import Piece
from stores.cold.history.series import CHUNK_INSTANTS, NEVER_MS, Kind
from tests.stores.cold.history.extents import stored_extent
from tests.stores.cold.history.test_codec import recorded

M5 = 5 * MINUTE_MS
SLOT_MS = M5 * CHUNK_INSTANTS
T0 = 1_700_000_000_000 // SLOT_MS * SLOT_MS
NOW = T0 + 100 * SLOT_MS
KEY = SeriesKey.candles("binance", "BTCUSDT", Timeframe.M5)
OI = SeriesKey.open_interest("binance", "BTCUSDT")
FUNDING = SeriesKey.funding("bybit", "BTCUSDT")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


@pytest.fixture
async def connection(
    database: Database, database_url: str
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    await database.open()
    found = await asyncpg.connect(database_url, timeout=30)
    yield found
    await found.close()


def rows(
    numbers: Sequence[int],
    value: float = 1.0,
    *,
    key: SeriesKey = OI,
    known_at: Sequence[int] | None = None,
    covered: bool = False,
) -> FillRows:
    """Of so many instants after T0, all with the one value."""
    times = T0 + key.interval_ms * np.array(numbers, np.int64)
    return FillRows(
        key,
        int(times[0]),
        int(times[-1]) + key.interval_ms,
        times,
        np.full((len(times), key.width), value),
        None if known_at is None else np.array(known_at, np.int64),
        covered,
    )


async def versions(database: Database, key: SeriesKey = OI) -> list[tuple[int, float, int, int]]:
    """Number, value, known_from and known_to of every version."""
    async with database.history.snapshot() as snapshot:
        found = (await snapshot.revisions([key], 0, 10**15))[key]
    return [
        ((t - T0) // key.interval_ms, value, known_from, known_to)
        for t, value, known_from, known_to in zip(
            found.times.tolist(),
            found.values[:, 0].tolist(),
            found.known_from.tolist(),
            found.known_to.tolist(),
            strict=True,
        )
    ]


async def test_what_rest_says_is_a_correction_and_nothing_is_written_twice(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    history = database.history
    assert await history.fill([rows([0, 1, 2])], "rest", NOW) == Filled(added=3)
    assert await history.fill([rows([0, 1, 2, 3])], "rest", NOW + 1) == Filled(1, 0, 3)
    assert await history.fill([rows([1, 2], 2.0)], "rest", NOW - 5) == Filled(0, 2, 0)
    wanted = [
        (0, 1.0, NOW, NEVER_MS),
        (1, 1.0, NOW, NOW + 1),
        (1, 2.0, NOW + 1, NEVER_MS),
        (2, 1.0, NOW, NOW + 1),
        (2, 2.0, NOW + 1, NEVER_MS),
        (3, 1.0, NOW + 1, NEVER_MS),
    ]
    assert await versions(database) == wanted
    # Of a slot that is over all lies in its chunk, however few they are.
    assert await connection.fetchval("SELECT count(*) FROM history_recent_points") == 0
    batches = "SELECT from_t, to_t, known_at, source FROM history_batches ORDER BY known_at, from_t"
    assert [tuple(row) for row in await connection.fetch(batches)] == [
        (T0, T0 + 2 * M5 + 1, NOW, "rest"),
        (T0 + M5, T0 + 2 * M5 + 1, NOW + 1, "rest"),
        (T0 + 3 * M5, T0 + 3 * M5 + 1, NOW + 1, "rest"),
    ]
    assert (await history.check()).faults == ()


@pytest.mark.parametrize("first", ["rest", "documents"])
async def test_an_archive_corrects_only_what_came_from_it(database: Database, first: str) -> None:
    history = database.history
    if first == "rest":
        await history.fill([rows([0, 1])], "rest", NOW)
    else:
        ours = rows([0, 1])
        await history.store([SeriesRows(OI, ours.times, ours.values)], NOW)
    archive = [rows([0, 1, 2], 2.0)]
    assert await history.fill(archive, "archive", NOW + 5) == Filled(1, 0, 0, 2)
    wanted = [
        (0, 1.0, NOW, NEVER_MS),
        (0, 2.0, NOW + 5, NOW + 5),
        (1, 1.0, NOW, NEVER_MS),
        (1, 2.0, NOW + 5, NOW + 5),
        (2, 2.0, NOW + 5, NEVER_MS),
    ]
    assert await versions(database) == wanted
    # The same file again adds nothing; another one corrects what came from it.
    assert await history.fill(archive, "archive", NOW + 6) == Filled(0, 0, 1, 2)
    assert await versions(database) == wanted
    assert await history.fill([rows([2], 3.0)], "archive", NOW + 7) == Filled(0, 1)
    assert (await versions(database))[-2:] == [
        (2, 2.0, NOW + 5, NOW + 7),
        (2, 3.0, NOW + 7, NEVER_MS),
    ]
    assert await history.fill([rows([2], 4.0)], "archive", NOW + 8) == Filled(0, 1)
    # Once REST has said otherwise, it is not the archive's any more.
    assert await history.fill([rows([2], 5.0)], "rest", NOW + 9) == Filled(0, 1)
    assert await history.fill([rows([2], 6.0)], "archive", NOW + 10) == Filled(0, 0, 0, 1)
    # What never was in force is told by no reading as of a time.
    async with history.snapshot() as snapshot:
        for moment_ms in (NOW + 5, NOW + 6):
            for unrecorded in (False, True):
                asked = await snapshot.versions(
                    [OI], 0, 10**15, as_of_ms=moment_ms, unrecorded=unrecorded
                )
                assert asked[OI].values[:2, 0].tolist() == [1.0, 1.0]
    assert (await history.check()).faults == ()


async def test_an_export_keeps_its_times_and_never_corrects(database: Database) -> None:
    history = database.history
    await history.fill([rows([0, 1])], "rest", NOW)
    export = [rows([0, 1, 2], 2.0, known_at=[NOW - 7, NOW, NOW - 3])]
    assert await history.fill(export, "export", NOW + 5) == Filled(1, 0, 0, 2)
    wanted = [
        (0, 2.0, NOW - 7, NOW - 7),
        (0, 1.0, NOW, NEVER_MS),
        (1, 1.0, NOW, NEVER_MS),  # of that moment there is a version already
        (2, 2.0, NOW - 3, NEVER_MS),
    ]
    assert await versions(database) == wanted
    assert await history.fill(export, "export", NOW + 6) == Filled(0, 0, 1, 2)
    assert await versions(database) == wanted
    async with history.snapshot() as snapshot:
        asked = await snapshot.versions([OI], 0, 10**15, as_of_ms=NOW - 1, unrecorded=True)
    assert asked[OI].values[:, 0].tolist() == [1.0, 1.0, 2.0]
    assert asked[OI].known_at.tolist() == [NOW, NOW, NOW - 3]


async def test_versions_of_one_instant_never_have_one_moment(database: Database) -> None:
    history = database.history
    await history.store([SeriesRows(OI, rows([0]).times, rows([0]).values)], NOW)
    assert await history.fill([rows([0], 2.0)], "archive", NOW) == Filled(0, 0, 0, 1)
    assert await history.fill([rows([0], 3.0)], "rest", NOW) == Filled(0, 1)
    ours = rows([0], 4.0)
    await history.store([SeriesRows(OI, ours.times, ours.values)], NOW)
    assert await versions(database) == [
        (0, 1.0, NOW, NOW + 2),
        (0, 2.0, NOW + 1, NOW + 1),
        (0, 3.0, NOW + 2, NOW + 3),
        (0, 4.0, NOW + 3, NEVER_MS),
    ]
    assert await history.fill([rows([0], 5.0)], "archive", NOW + 9) == Filled(0, 0, 0, 1)
    for value, known_at in ((6.0, NOW + 9), (7.0, NOW + 10)):
        ours = rows([0], value)
        await history.store([SeriesRows(OI, ours.times, ours.values)], known_at)
    assert (await versions(database))[-4:] == [
        (0, 4.0, NOW + 3, NOW + 10),
        (0, 5.0, NOW + 9, NOW + 9),
        (0, 6.0, NOW + 10, NOW + 11),
        (0, 7.0, NOW + 11, NEVER_MS),
    ]
    assert (await history.check()).faults == ()


async def test_what_was_removed_is_not_known_again_before(database: Database) -> None:
    history = database.history
    ours = rows([0, 1])
    await history.store([SeriesRows(OI, ours.times, ours.values)], NOW)
    none = np.empty(0, np.int64)
    gone = SeriesRows(OI, none, np.empty((0, 1)), removed=ours.times)
    await history.store([gone], NOW + 50)
    assert await history.fill([rows([0], 2.0)], "rest", NOW + 10) == Filled(1)
    export = rows([1], 2.0, known_at=[NOW + 5])
    assert await history.fill([export], "export", NOW + 10) == Filled(1)
    assert await versions(database) == [
        (0, 1.0, NOW, NOW + 50),
        (0, 2.0, NOW + 50, NEVER_MS),
        (1, 1.0, NOW, NOW + 50),
        (1, 2.0, NOW + 50, NEVER_MS),
    ]


async def test_a_year_of_5m_in_one_call(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    year = rows(range(105_120), key=KEY, covered=True)
    assert await database.history.fill([year], "rest", NOW) == Filled(added=105_120)
    assert await database.history.fill([year], "rest", NOW + 1) == Filled(unchanged=105_120)
    assert await connection.fetchval("SELECT count(*) FROM history_chunks WHERE n = 576") >= 182
    assert await database.history.missing(KEY, T0 - M5, T0 + 105_121 * M5) == [
        (T0 - M5, T0),
        (T0 + 105_120 * M5, T0 + 105_121 * M5),
    ]
    assert await stored_extent(connection, KEY) == (T0, T0 + 105_119 * M5, 105_120)
    assert await stored_extent(connection, OI) is None


async def test_what_is_stored_or_answered_is_not_asked_again(database: Database) -> None:
    history = database.history
    end_ms = T0 + 20 * M5
    assert await history.missing(OI, T0 + 1, end_ms) == [(T0 + M5, end_ms)]
    await history.fill([rows([3, 4, 9])], "archive", NOW)
    empty = FillRows(OI, T0 + 12 * M5, T0 + 16 * M5, rows([0]).times[:0], np.empty((0, 1)))
    await history.fill([empty], "rest", NOW)
    assert await history.missing(OI, T0, end_ms) == [
        (T0, T0 + 3 * M5), (T0 + 5 * M5, T0 + 9 * M5), (T0 + 10 * M5, end_ms)
    ]  # fmt: skip
    answered = FillRows(OI, T0 + 12 * M5, T0 + 16 * M5, empty.times, empty.values, covered=True)
    await history.fill([answered], "rest", NOW + 1)
    asked = [(T0 + 10 * M5, T0 + 12 * M5), (T0 + 16 * M5, end_ms)]
    assert await history.missing(OI, T0 + 10 * M5, end_ms) == asked
    assert await history.gaps(OI, T0 + 10 * M5, end_ms) == [(T0 + 10 * M5, end_ms)]
    assert await history.coverage([OI, KEY]) == {
        OI: [Covered(T0 + 12 * M5, T0 + 16 * M5, NOW + 1)],
        KEY: [],
    }
    # Every third instant: 0, 3 (stored), 6, 9 (stored), 12 and 15 (answered), 18.
    step_ms = 3 * M5
    assert await history.missing(OI, T0, end_ms, step_ms=step_ms) == [
        (T0, T0 + step_ms), (T0 + 6 * M5, T0 + 9 * M5), (T0 + 18 * M5, T0 + 21 * M5)
    ]  # fmt: skip


async def test_settlements_are_asked_for_where_nobody_has_answered(database: Database) -> None:
    history = database.history
    eight = 8 * HOUR_MS
    some = rows([0, 1, 2, 5], key=FUNDING)
    assert await history.missing(FUNDING, T0, T0 + eight) == [(T0, T0 + eight)]
    await history.fill([some], "rest", NOW)
    assert await history.missing(FUNDING, T0, T0 + eight) == [(T0, T0 + eight)]
    covered = FillRows(
        FUNDING, T0 + eight, T0 + 3 * eight, some.times[1:3], some.values[1:3], covered=True
    )
    await history.fill([covered], "rest", NOW)
    assert await history.missing(FUNDING, T0, T0 + 4 * eight) == [
        (T0, T0 + eight), (T0 + 3 * eight, T0 + 4 * eight)
    ]  # fmt: skip
    gap = [(T0 + 2 * eight + 1, T0 + 5 * eight)]
    assert await history.gaps(FUNDING, T0 - 50 * eight, T0 + 50 * eight) == gap


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("rest", FillRows(OI, T0, T0, rows([0]).times[:0], np.empty((0, 1)))),
        ("rest", FillRows(OI, T0 + M5, T0 + 2 * M5, rows([0]).times, np.ones((1, 1)))),
        ("rest", FillRows(OI, T0, T0 + M5, rows([0]).times + 1, np.ones((1, 1)))),
        ("rest", FillRows(OI, T0, T0 + M5, rows([0]).times, np.ones((2, 1)))),
        ("rest", FillRows(OI, T0, T0 + M5, rows([0]).times, np.ones((1, 1)), step_ms=7)),
        ("rest", rows([0], known_at=[NOW])),
        ("archive", rows([0], covered=True)),
        ("export", rows([0])),
        ("export", rows([0, 1], known_at=[NOW])),
        ("export", rows([0], known_at=[NOW + 1])),
        ("export", rows([0], known_at=[-1])),
    ],
)
def test_rows_that_cannot_be_are_refused(source: Source, bad: FillRows) -> None:
    with pytest.raises(ValueError, match="binance"):
        bad.check(source, NOW)


async def test_rows_that_are_refused_change_nothing(database: Database) -> None:
    with pytest.raises(ValueError, match="only REST answers for a whole range"):
        await database.history.fill([rows([0]), rows([1], covered=True)], "archive", NOW)
    assert await versions(database) == []


async def test_recorded_numbers_are_filled_in_and_come_back(
    database: Database, recorded_data: Path
) -> None:
    kinds: dict[str, Kind] = {"kline": "candles", "oi": "open_interest", "funding": "funding"}
    wanted: dict[SeriesKey, Piece] = {}
    # Each has transactions of its own; test_codec.py has the numbers of all.
    for path, symbol, interval_ms, piece in recorded(recorded_data)[::8]:
        kind = kinds[path.name.split("_")[2]]
        own = {"open_interest": M5, "funding": 8 * HOUR_MS}.get(kind, interval_ms)
        key = SeriesKey("binance", f"{path.name.partition('.')[0]}_{symbol}", kind, own)
        wanted[key] = piece
    pages: list[FillRows] = []
    for number, (key, piece) in enumerate(wanted.items()):
        # As a walk brings them, newest first; of every third series all at once.
        most = 499 if number % 3 else 10**9
        for end in range(len(piece), 0, -most):
            part = piece.select(slice(max(0, end - most), end))
            first_ms, end_ms = int(part.times[0]), int(part.times[-1]) + 1
            pages.append(FillRows(key, first_ms, end_ms, part.times, part.values, covered=True))
    now_ms = max(page.to_ms for page in pages) + HOUR_MS
    filled = Filled()
    for begin in range(0, len(pages), 100):
        filled += await database.history.fill(pages[begin : begin + 100], "rest", now_ms)
    assert filled == Filled(added=sum(map(len, wanted.values())))
    async with database.history.snapshot() as snapshot:
        for key, piece in wanted.items():
            found = (await snapshot.versions([key], 0, 10**15))[key]
            assert found.times.tobytes() == piece.times.tobytes()
            assert found.values.tobytes() == piece.values.tobytes(), key
