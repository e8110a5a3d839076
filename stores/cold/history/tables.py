"""HistoryTables: the record in PostgreSQL, behind one object: stored, filled in, kept and read."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Protocol

import numpy as np

from market.rows import Times
from stores.cold.history.checking import MOST_SERIES as _CHECKED_SERIES
from stores.cold.history.checking import Findings, check_series
from stores.cold.history.chunk_store import read_chunks
from stores.cold.history.compaction import Batch, compact_batch, find_batches
from stores.cold.history.coverage import is_covered, read_coverage, uncovered
from stores.cold.history.fill_rows import Covered, Filled, FillRows, Source
from stores.cold.history.filling import fill_rows
from stores.cold.history.presence import (
    Ranges,
    grid,
    lacking,
    long_distances,
    once,
    read_times,
)
from stores.cold.history.reading import HistorySnapshot
from stores.cold.history.record_tables import ALL, CANDLES, POINTS, lock_writers, tables_of
from stores.cold.history.retention import MOST_SERIES as _RETAINED_SERIES
from stores.cold.history.retention import remove_before, series_of
from stores.cold.history.series import (
    Checked,
    Compacted,
    Kind,
    RangeState,
    Retained,
    Revisions,
    SeriesKey,
    SeriesRows,
    Stored,
    Versions,
)
from stores.cold.history.series_ids import find_ids
from stores.cold.history.storing import store_rows
from stores.cold.pool import Connection, Pool

Within = Callable[[Connection], Awaitable[None]]


class Snapshot(Protocol):
    """Reads of one state of the record, whatever is stored or compacted meanwhile.

    `from_ms` is inclusive, `to_ms` exclusive. `as_of_ms`: what was known then; None: what is known
    now. `unrecorded`: also what an exchange had shown by then and is known only since a later
    time, in its earliest version. Series that are not stored have no rows. All methods raise
    DatabaseUnavailable.
    """

    async def series(
        self, *, kind: Kind | None = None, exchange: str | None = None, symbol: str | None = None
    ) -> list[SeriesKey]:
        """The stored series of that kind, exchange and symbol, sorted."""

    async def versions(
        self,
        keys: Sequence[SeriesKey],
        from_ms: int,
        to_ms: int,
        *,
        as_of_ms: int | None = None,
        unrecorded: bool = False,
    ) -> Mapping[SeriesKey, Versions]:
        """The rows of each of the keys, all in memory."""

    def stream(
        self,
        keys: Sequence[SeriesKey],
        from_ms: int,
        to_ms: int,
        *,
        as_of_ms: int | None = None,
        unrecorded: bool = False,
        with_values: bool = True,
    ) -> AsyncGenerator[tuple[SeriesKey, Versions], None]:
        """The same in pieces that are not empty, key by key, each ascending, in bounded memory.

        `with_values`: False for times and `known_at` alone, without reading the values of chunks;
        `values` mean nothing then. Other reads of the snapshot may come between two pieces; who
        wants no more of them closes the generator.
        """

    async def revisions(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> Mapping[SeriesKey, Revisions]:
        """Every version of the rows of each of the keys, all in memory."""

    async def newest_change(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> int | None:
        """Since when the newest of the rows is known, or was superseded or removed: nothing of the
        range has changed after that. It may be later, by what lies in the same chunks."""

    async def newest_supersession(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> int | None:
        """When a value of the range was last superseded or removed."""

    async def extent(self, keys: Sequence[SeriesKey]) -> tuple[int, int] | None:
        """The first and the last time that is stored of any of the series, superseded and removed
        rows included; None if nothing is."""

    async def state(self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int) -> RangeState:
        """The state of the range, found without reading its rows."""


class HistoryTables:
    """The record of one database. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def store(
        self, rows: Sequence[SeriesRows], known_at_ms: int, *, within: Within | None = None
    ) -> Stored:
        """Stores what is known since `known_at_ms`, in one transaction; storing it again changes
        nothing.

        A value that differs supersedes the one before, which stays readable. `within` is called
        with the transaction's connection, before it is committed; if it raises, nothing has
        changed. Of values with the same key and time in `rows` the last counts. A damaged chunk
        into which rows fall is set aside; what falls into one of a later release is left out.
        Raises ValueError for rows off the grid, unordered, or of another shape than their key's.
        """
        for each in rows:
            each.check()

        async def write(connection: Connection) -> Stored:
            async with connection.transaction():
                await lock_writers(connection)
                stored = await store_rows(connection, rows, known_at_ms)
                if within is not None:
                    await within(connection)
                return stored

        return await self._pool.write(write)

    async def fill(
        self,
        rows: Sequence[FillRows],
        source: Source,
        now_ms: int,
        *,
        within: Within | None = None,
    ) -> Filled:
        """Fills in what a source beside the documents says, under its rules (filling.py), in one
        transaction with the coverage and where it came from; the same again changes nothing.

        What is new is known since `now_ms` (UTC ms), exports apart. `within`: as in `store`. Raises
        ValueError for rows that `FillRows.check` refuses.
        """
        for each in rows:
            each.check(source, now_ms)

        async def write(connection: Connection) -> Filled:
            async with connection.transaction():
                await lock_writers(connection)
                filled = await fill_rows(connection, rows, source, now_ms)
                if within is not None:
                    await within(connection)
                return filled

        return await self._pool.write(write)

    async def missing(
        self, key: SeriesKey, from_ms: int, to_ms: int, *, step_ms: int | None = None
    ) -> Ranges:
        """What a source is to be asked for: the maximal ranges of the grid, from inclusive, to
        exclusive, of which no instant is stored, and that no exchange has answered for.

        `step_ms`: of the grid, a multiple of the series' own (None), for open interest. A range
        ends one step after its last instant. Funding has no grid: the ranges without an answer.
        """
        if key.kind == "funding":
            return uncovered(from_ms, to_ms, (await self.coverage([key]))[key])
        step_ms = step_ms or key.interval_ms
        instants = grid(from_ms, to_ms, step_ms)
        there, covered = await self._there(key, from_ms, to_ms)
        return lacking(instants[~is_covered(instants, covered)], there, step_ms)

    async def gaps(
        self, key: SeriesKey, from_ms: int, to_ms: int, *, step_ms: int | None = None
    ) -> Ranges:
        """The maximal ranges of the grid, as `missing` tells them, of which nothing is stored,
        whoever has answered. Of funding: between two settlements that are farther from each other
        than `step_ms` (None: 8 hours and a minute)."""
        there, _ = await self._there(key, from_ms, to_ms)
        if key.kind == "funding":
            return long_distances(there, step_ms)
        step_ms = step_ms or key.interval_ms
        return lacking(grid(from_ms, to_ms, step_ms), there, step_ms)

    async def coverage(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, list[Covered]]:
        """The ranges of each of the keys that its exchange has answered for, ascending."""

        async def read(connection: Connection) -> Mapping[SeriesKey, list[Covered]]:
            ids = await find_ids(connection, once(keys))
            found = await read_coverage(connection, list(ids.values()))
            return {key: found.get(ids.get(key, -1), []) for key in once(keys)}

        return await self._pool.read(read)

    async def _there(
        self, key: SeriesKey, from_ms: int, to_ms: int
    ) -> tuple[Times, Sequence[Covered]]:
        """The stored times of a range, and what is covered, of one state."""

        async def read(connection: Connection) -> tuple[Times, Sequence[Covered]]:
            series_id = (await find_ids(connection, [key])).get(key)
            if series_id is None:
                return np.empty(0, np.int64), []
            covered = (await read_coverage(connection, [series_id])).get(series_id, [])
            return await read_times(connection, key, series_id, from_ms, to_ms), covered

        return await self._pool.read(read)

    async def compact(self, before_known_ms: int) -> Compacted:
        """Moves the rows known before then into chunks, in transactions of bounded size."""

        async def find(connection: Connection) -> list[Batch]:
            return await find_batches(connection, before_known_ms)

        done = Compacted()
        for batch in await self._pool.write(find):

            async def write(connection: Connection, batch: Batch = batch) -> Compacted:
                return await compact_batch(connection, batch, before_known_ms)

            moved = await self._pool.write(write)
            done = Compacted(done.rows + moved.rows, done.chunks + moved.chunks)
        return done

    async def retain(self, kind: Kind, interval_ms: int, before_ms: int) -> Retained:
        """Removes what lies before that time in all series of that kind and interval, superseded
        values too; what is younger than that time stays, and so does up to one slot more."""
        tables = CANDLES if kind == "candles" else POINTS

        async def find(connection: Connection) -> list[int]:
            return await series_of(connection, kind, interval_ms)

        done = Retained()
        ids = await self._pool.read(find)
        for begin in range(0, len(ids), _RETAINED_SERIES):
            some = ids[begin : begin + _RETAINED_SERIES]

            async def write(connection: Connection, some: list[int] = some) -> Retained:
                return await remove_before(connection, tables, some, interval_ms, before_ms)

            gone = await self._pool.write(write)
            done = Retained(
                done.chunks + gone.chunks, done.rows + gone.rows, done.revisions + gone.revisions
            )
        return done

    async def check(self, keys: Sequence[SeriesKey] | None = None) -> Checked:
        """Checks the chunks' checksums and order, that nothing is stored twice, and lists holes.
        Reads all of the series (None: of all series), so it takes long."""
        findings = Findings()
        series = 0
        async with self.snapshot() as snapshot:
            wanted = await snapshot.series() if keys is None else list(dict.fromkeys(keys))
        for tables in ALL:
            alike = [key for key in wanted if tables_of(key) is tables]
            for begin in range(0, len(alike), _CHECKED_SERIES):
                some = alike[begin : begin + _CHECKED_SERIES]

                async def find(
                    connection: Connection, some: list[SeriesKey] = some
                ) -> dict[SeriesKey, int]:
                    return await find_ids(connection, some)

                async with self._pool.session() as session:
                    ids = {number: key for key, number in (await session.read(find)).items()}
                    series += len(ids)
                    await check_series(session, tables, ids, findings)
        return Checked(
            series, findings.chunks, findings.rows, tuple(findings.faults), tuple(findings.holes),
            tuple(findings.damaged),
        )  # fmt: skip

    async def set_aside(self, damaged: Iterable[tuple[SeriesKey, int]]) -> None:
        """Empties these slots, if their chunks are damaged: what was in them is kept in
        history_damaged_chunks, and backfills ask for it again."""
        for key, slot in damaged:

            async def write(connection: Connection, key: SeriesKey = key, slot: int = slot) -> None:
                async with connection.transaction():
                    await lock_writers(connection)
                    for number in (await find_ids(connection, [key])).values():
                        await read_chunks(
                            connection, tables_of(key), [(number, slot)], {number: key}
                        )

            await self._pool.write(write)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """`async with tables.snapshot() as snapshot`: reads of one state; a connection meanwhile.

        It is closed before anything else is awaited for long: the pool has few connections.
        """
        async with self._pool.session() as session:
            yield HistorySnapshot(session)
