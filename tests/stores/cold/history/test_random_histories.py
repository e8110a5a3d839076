"""Random histories with kills in between, read beside a naive list of versions."""

import random
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from market.timeframes import Timeframe
from stores.cold.history import compaction, reading, storing
from stores.cold.history.series import CHUNK_INSTANTS, SeriesKey, SeriesRows, Versions
from stores.cold.history.tables import HistoryTables, Snapshot
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import DatabasePool, DatabaseUnavailable
from tests.stores.cold.history.killed import KillingPool
from tests.stores.cold.history.naive import NaiveRecord, Values

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
        self.reads = 0

    async def step(self) -> None:
        names = ["store"] * 8 + ["repeat"] + ["compact"] * 2 + ["retain"] + ["read"] * 8
        name = self.random.choice(names)
        self.pool.kill_at = self.random.choice((0, 0, self.random.randint(1, 18)))
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
    monkeypatch.setattr(reading, "_STREAMED_SLOTS", 1)


@pytest.mark.usefixtures("small_limits")
async def test_random_histories_are_told_as_they_were(pool: DatabasePool) -> None:
    assert await run(pool, range(2), 25) > 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("small_limits")
async def test_ten_thousand_reads_of_random_histories(pool: DatabasePool) -> None:
    assert await run(pool, range(1000, 1060), 60) > 10_000
