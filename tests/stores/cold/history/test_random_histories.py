"""Random histories with kills in between, read beside a naive list of versions."""

import random
import struct
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from market.timeframes import Timeframe
from stores.cold.history import compaction, filling, filling_part, presence, reading, storing
from stores.cold.history.fill_rows import Filled, FillRows, Source
from stores.cold.history.series import CHUNK_INSTANTS, SeriesKey, SeriesRows, Versions
from stores.cold.history.tables import HistoryTables, Snapshot
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import DatabasePool, DatabaseUnavailable
from tests.stores.cold.history.extents import stored_extent
from tests.stores.cold.history.killed import KillingPool
from tests.stores.cold.history.naive import NaiveRecord, Row, Values

_ABOUT_MS = 10**12
_ODD = (float("nan"), -0.0, 0.0, 1e15, 1e-9, 12345.6789, 0.1 + 0.2, -7.0)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[DatabasePool]:
    found = DatabasePool(database_url, MIGRATIONS, read_s=20, write_s=20)
    yield found
    await found.aclose()


class History:
    """One random history of a few series, in the tables and in the naive record."""

    def __init__(self, tables: HistoryTables, pool: KillingPool, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - of a test
        self.tables, self.pool = tables, pool
        self.naive = NaiveRecord()
        name = f"S{seed}"
        self.keys = [
            SeriesKey.candles("binance", name, Timeframe.M5),
            SeriesKey.candles("bybit", name, Timeframe.D1),
            SeriesKey.open_interest("binance", name),
            SeriesKey.funding("bybit", name),
        ]
        self.now_ms = _ABOUT_MS
        self.moments = [self.now_ms]
        self.stored: list[tuple[SeriesKey, list[tuple[int, Values]], list[int]]] = []
        self.filled: tuple[list[FillRows], Source, int] = [], "rest", self.now_ms
        self.reads = 0

    async def step(self) -> None:
        names = (
            ["store"] * 8 + ["fill"] * 6 + ["repeat"] + ["compact"] * 2 + ["retain"] + ["read"] * 8
        )
        name = self.random.choice(names)
        self.pool.kill_at = self.random.choice((0, 0, self.random.randint(1, 24)))
        try:
            await getattr(self, name)()
        except DatabaseUnavailable:
            assert self.pool.killed, "the database failed by itself"
            await getattr(self, f"{name}_again", getattr(self, name))()
        self.pool.kill_at, self.pool.killed = 0, False

    def _span(self, key: SeriesKey) -> int:
        return key.interval_ms * CHUNK_INSTANTS

    def _time(self, key: SeriesKey) -> int:
        """Near one of three slots' ends, so that slots fill and neighbours are touched."""
        slot = _ABOUT_MS // self._span(key) + self.random.randint(0, 2)
        end_ms = slot * self._span(key)
        t = end_ms + self.random.randint(-12, 12) * key.interval_ms
        if key.kind == "funding" and self.random.random() < 0.5:
            t += self.random.randint(0, 40)
        return t

    def _values(self, key: SeriesKey) -> Values:
        if self.random.random() < 0.1:
            return tuple(self.random.choice(_ODD) for _ in range(key.width))
        return tuple(self.random.randint(1, 4) / 10 for _ in range(key.width))

    def _rows(self, key: SeriesKey) -> tuple[list[tuple[int, Values]], list[int]]:
        times = {self._time(key) for _ in range(self.random.choice((0, 1, 3, 12)))}
        removed = {self._time(key) for _ in range(self.random.choice((0, 0, 1, 3)))}
        return [(t, self._values(key)) for t in sorted(times)], sorted(removed - times)

    async def store(self) -> None:
        self.now_ms += self.random.choice((0, 1, 1000, 10**6, -5))
        self.moments.append(self.now_ms)
        self.stored = [(key, *self._rows(key)) for key in self.keys if self.random.random() < 0.7]
        await self.repeat()

    async def repeat(self) -> None:
        """The publish that was stored last: it brings back only what retention has removed."""
        for key, rows, removed in self.stored:
            self.naive.store(key, rows, removed, self.now_ms)
        await self.store_again()

    async def repeat_again(self) -> None:
        await self.store_again()

    async def store_again(self) -> None:
        series = [
            SeriesRows(
                key,
                np.array([t for t, _ in rows], np.int64),
                np.array([values for _, values in rows], np.float64).reshape(len(rows), key.width),
                np.array(removed, np.int64),
            )
            for key, rows, removed in self.stored
        ]
        await self.tables.store(series, self.now_ms)

    async def fill(self) -> None:
        """Pages of some series, of one source; a part of their values is what is there already."""
        self.now_ms += self.random.choice((0, 1, 1000, -5))
        self.moments.append(self.now_ms)
        source: Source = self.random.choice(("rest", "rest", "archive", "export"))
        pages: list[FillRows] = []
        added = corrected = unchanged = kept = 0
        for key in self.keys:
            if self.random.random() < 0.5:
                continue
            rows = [(t, values, self._known_at(source)) for t, values in self._some_rows(key)]
            counts = self.naive.fill(key, rows, source, self.now_ms)
            added, corrected = added + counts[0], corrected + counts[1]
            unchanged, kept = unchanged + counts[2], kept + counts[3]
            pages += self._pages(key, rows, source)
        self.filled = pages, source, self.now_ms
        assert await self.tables.fill(*self.filled) == Filled(added, corrected, unchanged, kept)

    async def fill_again(self) -> None:
        await self.tables.fill(*self.filled)

    def _some_rows(self, key: SeriesKey) -> list[tuple[int, Values]]:
        rows, _ = self._rows(key)
        every = self.naive.versions.get(key, {})
        known = [(t, found[-1][0]) for t, found in every.items() if found and found[-1][0]]
        for t, values in self.random.sample(known, min(len(known), 4)):
            assert values is not None
            rows.append((t, values))
        return sorted(dict(rows).items())

    def _known_at(self, source: Source) -> int:
        early = self.random.choice(self.moments) - self.random.choice((0, 0, 3))
        return min(early, self.now_ms) if source == "export" else self.now_ms

    def _pages(self, key: SeriesKey, rows: list[Row], source: Source) -> list[FillRows]:
        """The rows in one page, or in two that touch; the newer one first."""
        if not rows:
            return []
        first, end = rows[0][0], rows[-1][0] + key.interval_ms
        first -= self.random.randint(0, 3) * key.interval_ms
        cut = self.random.choice([first, *(t for t, _, _ in rows)])
        pages = []
        for from_ms, to_ms in ((cut, end), (first, cut)):
            if from_ms < to_ms:
                some = [row for row in rows if from_ms <= row[0] < to_ms]
                covered = source == "rest" and self.random.random() < 0.6
                pages.append(_page(key, from_ms, to_ms, some, source, covered))
                if covered:
                    answered = self.naive.answered.setdefault(key, set())
                    answered.update(_grid(key, from_ms, to_ms))
        return pages

    async def compact(self) -> None:
        await self.tables.compact(self.random.choice((self.now_ms + 1, self.now_ms - 1000)))

    async def retain(self) -> None:
        key = self.random.choice(self.keys)
        before_ms = self._time(key) - 2 * self._span(key)
        self.retained = key.kind, key.interval_ms, before_ms
        self.naive.retain(*self.retained)
        await self.retain_again()

    async def retain_again(self) -> None:
        await self.tables.retain(*self.retained)

    async def read(self) -> None:
        async with self.tables.snapshot() as snapshot:
            for _ in range(3):
                await self._read(snapshot)

            await self._find_missing()

    async def _find_missing(self) -> None:
        key = self.random.choice(self.keys[:3])  # settlements have no grid
        first, last = sorted((self._time(key), self._time(key)))
        instants = _grid(key, first, last + 1)
        for asked, tell in ((True, self.tables.missing), (False, self.tables.gaps)):
            told = await tell(key, first, last + 1)
            found = [t for from_ms, to_ms in told for t in range(from_ms, to_ms, key.interval_ms)]
            assert found == self.naive.missing(key, instants, asked=asked)
            assert all(one[1] < other[0] for one, other in pairwise(told))
        stored = self.naive.read(key, 0, 10**15, None, False)[0]
        extent = (stored[0][0], stored[-1][0], len(stored)) if stored else None
        assert await self.pool.read(lambda connection: stored_extent(connection, key)) == extent

    async def _read(self, snapshot: Snapshot) -> None:
        some = self.random.choice((self.keys, [self.random.choice(self.keys)]))
        key = some[-1]
        first, last = sorted((self._time(key), self._time(key)))
        from_ms, to_ms = self.random.choice(((first, last + 1), (0, 10**15), (first, first)))
        as_of_ms = self.random.choice(
            (None, self.random.choice(self.moments) + self.random.randint(-1, 1), 0, 10**15)
        )
        unrecorded = self.random.random() < 0.5
        options: dict[str, Any] = {"as_of_ms": as_of_ms, "unrecorded": unrecorded}
        found = await snapshot.versions(some, from_ms, to_ms, **options)
        streamed: dict[SeriesKey, list[Versions]] = {each: [] for each in some}
        async for each, part in snapshot.stream(some, from_ms, to_ms, **options):
            streamed[each].append(part)
        revisions = await snapshot.revisions(some, from_ms, to_ms)
        for each in some:
            self.reads += 1
            rows, count = self.naive.read(each, from_ms, to_ms, as_of_ms, unrecorded)
            assert bits(told([found[each]])) == bits(rows), (each, options)
            assert found[each].unrecorded == count
            assert bits(told(streamed[each])) == bits(rows), (each, options)
            assert sum(part.unrecorded for part in streamed[each]) == count
            every = revisions[each]
            lines = zip(
                every.times.tolist(), map(tuple, every.values.tolist()),
                every.known_from.tolist(), every.known_to.tolist(), strict=True,
            )  # fmt: skip
            assert bits(list(lines)) == bits(self.naive.revisions(each, from_ms, to_ms))


def _grid(key: SeriesKey, from_ms: int, to_ms: int) -> list[int]:
    step_ms = key.interval_ms
    return [*range(-(-from_ms // step_ms) * step_ms, to_ms, step_ms)]


def _page(
    key: SeriesKey, from_ms: int, to_ms: int, rows: Sequence[Row], source: Source, covered: bool
) -> FillRows:
    values = np.array([each for _, each, _ in rows], np.float64).reshape(len(rows), key.width)
    known_at = np.array([known for _, _, known in rows], np.int64)
    times = np.array([t for t, _, _ in rows], np.int64)
    given = known_at if source == "export" else None
    return FillRows(key, from_ms, to_ms, times, values, given, covered)


def told(parts: Sequence[Versions]) -> list[tuple[Any, ...]]:
    return [
        (t, tuple(values), known_at)
        for part in parts
        for t, values, known_at in zip(
            part.times.tolist(), part.values.tolist(), part.known_at.tolist(), strict=True
        )
    ]


def bits(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with every float as its bytes, so that NaN equals itself and -0.0 only itself."""
    return [
        tuple(
            tuple(struct.pack("d", value) for value in each) if isinstance(each, tuple) else each
            for each in row
        )
        for row in rows
    ]


async def run(pool: DatabasePool, seeds: range, steps: int) -> int:
    reads = 0
    for seed in seeds:
        killing = KillingPool(pool)
        history = History(HistoryTables(killing), killing, seed)
        for number in range(steps):
            try:
                await history.step()
            except Exception as error:
                error.add_note(f"seed {seed}, step {number}")
                raise
        reads += history.reads
    checked = await HistoryTables(pool).check()
    assert checked.faults == ()
    return reads


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows fill chunks, batches and streams."""
    monkeypatch.setattr(compaction, "_ENOUGH", 3)
    monkeypatch.setattr(compaction, "_MOST_ROWS", 10)
    monkeypatch.setattr(storing, "_WHOLE", 6)
    monkeypatch.setattr(filling, "_SLOTS_AT_ONCE", 1)
    monkeypatch.setattr(filling_part, "_WHOLE", 6)
    monkeypatch.setattr(filling_part, "_MOST_LOOKUPS", 3)
    monkeypatch.setattr(presence, "_MOST_LOOKUPS", 8)
    monkeypatch.setattr(reading, "_STREAMED_SLOTS", 1)


@pytest.mark.usefixtures("small_limits")
async def test_random_histories_are_told_as_they_were(pool: DatabasePool) -> None:
    assert await run(pool, range(2), 20) > 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("small_limits")
async def test_ten_thousand_reads_of_random_histories(pool: DatabasePool) -> None:
    assert await run(pool, range(1000, 1080), 60) > 10_000
