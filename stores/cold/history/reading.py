"""Reading one state of the record: as it is now, as it was known at a time, or every version."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Final, TypeVar

import asyncpg
import numpy as np
import numpy.typing as npt

from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.codec import DamagedChunk, Piece
from stores.cold.history.extent import find_ends, joined_state, read_state
from stores.cold.history.queries import (
    Range,
    Superseded,
    alike,
    newest,
    newest_known,
    newest_superseded,
    next_time,
    read_chunks,
    read_recent,
    read_superseded,
    span_of_recent,
)
from stores.cold.history.record_tables import RecordTables, tables_of
from stores.cold.history.series import NEVER_MS, Kind, RangeState, Revisions, SeriesKey, Versions
from stores.cold.history.series_ids import find_ids
from stores.cold.pool import DATABASE_TEXT, Connection, DatabaseUnavailable, Session

_STREAMED_SLOTS: Final = 16
_T = TypeVar("_T")


class DamagedRecord(DatabaseUnavailable):
    """A chunk of what was asked for does not hold what was stored."""


class HistorySnapshot:
    """Snapshot of tables.py, within one session of the pool."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._recent: dict[str, tuple[int, int]] = {}

    async def series(
        self, *, kind: Kind | None = None, exchange: str | None = None, symbol: str | None = None
    ) -> list[SeriesKey]:
        async def read(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(_SERIES, kind, exchange, symbol)

        rows = await self._session.read(read)
        return sorted(SeriesKey(*row) for row in rows)

    async def versions(
        self,
        keys: Sequence[SeriesKey],
        from_ms: int,
        to_ms: int,
        *,
        as_of_ms: int | None = None,
        unrecorded: bool = False,
    ) -> Mapping[SeriesKey, Versions]:
        async def read(connection: Connection) -> Mapping[SeriesKey, Versions]:
            ids = await find_ids(connection, _once(keys))
            wanted = Range(from_ms, to_ms)
            return await self._read_versions(connection, ids, wanted, as_of_ms, unrecorded)

        found = await self._read(read)
        return {key: found.get(key) or _no_versions(key) for key in _once(keys)}

    async def stream(
        self,
        keys: Sequence[SeriesKey],
        from_ms: int,
        to_ms: int,
        *,
        as_of_ms: int | None = None,
        unrecorded: bool = False,
        with_values: bool = True,
    ) -> AsyncGenerator[tuple[SeriesKey, Versions], None]:
        async def find(connection: Connection) -> dict[SeriesKey, int]:
            return await find_ids(connection, _once(keys))

        for key, series_id in (await self._session.read(find)).items():
            async for wanted in self._parts(key, series_id, Range(from_ms, to_ms, with_values)):

                async def read(
                    connection: Connection,
                    key: SeriesKey = key,
                    series_id: int = series_id,
                    wanted: Range = wanted,
                ) -> Versions | None:
                    found = await self._read_versions(
                        connection, {key: series_id}, wanted, as_of_ms, unrecorded
                    )
                    return found.get(key)

                found = await self._read(read)
                if found is not None and len(found.times):
                    yield key, found

    async def revisions(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> Mapping[SeriesKey, Revisions]:
        async def read(connection: Connection) -> Mapping[SeriesKey, Revisions]:
            ids, wanted = await find_ids(connection, _once(keys)), Range(from_ms, to_ms)
            return await self._read_every_version(connection, ids, wanted, after_ms=-1)

        found = await self._read(read)
        return {key: found.get(key) or _every_version(key, None, None) for key in _once(keys)}

    async def newest_change(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> int | None:
        wanted = Range(from_ms, to_ms)

        async def read(connection: Connection) -> int | None:
            found: list[int | None] = []
            for series in alike(await find_ids(connection, _once(keys))):
                recent = wanted.within(await self._span_of_recent(connection, series.tables))
                found.append(await newest_known(connection, series, wanted, recent))
                found.append(await newest_superseded(connection, series, wanted))
            return newest(found)

        return await self._session.read(read)

    async def newest_supersession(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> int | None:
        wanted = Range(from_ms, to_ms)

        async def read(connection: Connection) -> int | None:
            groups = alike(await find_ids(connection, _once(keys)))
            return newest([await newest_superseded(connection, each, wanted) for each in groups])

        return await self._session.read(read)

    async def extent(self, keys: Sequence[SeriesKey]) -> tuple[int, int] | None:
        async def read(connection: Connection) -> list[tuple[int, int]]:
            groups = alike(await find_ids(connection, _once(keys)))
            return [ends for each in groups for ends in await find_ends(connection, each)]

        found = await self._session.read(read)
        return (min(found)[0], max(last for _, last in found)) if found else None

    async def state(self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int) -> RangeState:
        wanted = Range(from_ms, to_ms)

        async def read(connection: Connection) -> RangeState:
            groups = alike(await find_ids(connection, _once(keys)))
            return joined_state([await read_state(connection, each, wanted) for each in groups])

        return await self._session.read(read)

    async def _read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        try:
            return await self._session.read(work)
        except DamagedChunk as error:
            raise DamagedRecord(f"{DATABASE_TEXT}is damaged: {error}") from error

    async def _parts(self, key: SeriesKey, series_id: int, wanted: Range) -> AsyncIterator[Range]:
        """The parts of _STREAMED_SLOTS of the range in which there may be rows."""
        part_ms = slot_ms(key.interval_ms) * _STREAMED_SLOTS
        from_ms = wanted.from_ms
        while from_ms < wanted.to_ms:
            rest = wanted.within((from_ms, wanted.to_ms))

            async def read(connection: Connection, rest: Range = rest) -> int | None:
                return await next_time(connection, tables_of(key), series_id, rest)

            if (next_ms := await self._session.read(read)) is None:
                return
            first_ms = max(from_ms, next_ms)
            from_ms = first_ms - first_ms % part_ms + part_ms
            yield wanted.within((first_ms, from_ms))

    async def _read_versions(
        self,
        connection: Connection,
        ids: Mapping[SeriesKey, int],
        wanted: Range,
        as_of_ms: int | None,
        unrecorded: bool,
    ) -> dict[SeriesKey, Versions]:
        if as_of_ms is None:
            current = await self._read_current(connection, ids, wanted)
            return {
                key: Versions(piece.times, piece.values, piece.known_at)
                for key, piece in current.items()
            }
        # What was superseded before counts only where it shows that a row was recorded.
        after_ms = -1 if unrecorded else as_of_ms
        every = await self._read_every_version(connection, ids, wanted, after_ms=after_ms)
        return {key: _as_of(key, found, as_of_ms, unrecorded) for key, found in every.items()}

    async def _read_every_version(
        self,
        connection: Connection,
        ids: Mapping[SeriesKey, int],
        wanted: Range,
        *,
        after_ms: int,
    ) -> dict[SeriesKey, Revisions]:
        """The versions of the range that were not superseded by then."""
        current = await self._read_current(connection, ids, wanted)
        old: dict[SeriesKey, Superseded] = {}
        for series in alike(ids):
            old |= dict(await read_superseded(connection, series, wanted, after_ms=after_ms))
        return {
            key: _every_version(key, current.get(key), old.get(key))
            for key in current.keys() | old.keys()
        }

    async def _read_current(
        self, connection: Connection, ids: Mapping[SeriesKey, int], wanted: Range
    ) -> dict[SeriesKey, Piece]:
        """The rows of the range that have not been superseded; series without any are left out."""
        parts: dict[SeriesKey, list[Piece]] = {}
        for series in alike(ids):
            recent = wanted.within(await self._span_of_recent(connection, series.tables))
            for key, piece in (
                *await read_chunks(connection, series, wanted),
                *await read_recent(connection, series, recent),
            ):
                parts.setdefault(key, []).append(piece)
        return {key: Piece.joined(found) for key, found in parts.items()}

    async def _span_of_recent(
        self, connection: Connection, tables: RecordTables
    ) -> tuple[int, int]:
        if (found := self._recent.get(tables.recent)) is None:
            found = self._recent[tables.recent] = await span_of_recent(connection, tables)
        return found


def _once(keys: Iterable[SeriesKey]) -> list[SeriesKey]:
    return list(dict.fromkeys(keys))


def _no_versions(key: SeriesKey) -> Versions:
    none = np.empty(0, np.int64)
    return Versions(none, np.empty((0, key.width)), none)


def _as_of(key: SeriesKey, every: Revisions, as_of_ms: int, unrecorded: bool) -> Versions:
    """What was known then: of each time the version that was; if `unrecorded`, also the first one
    of each time that was public then, and of which none was known yet."""
    if not bool((in_force := every.known_from < every.known_to).all()):
        every = _select(every, in_force)  # others are only listed
    known = (every.known_from <= as_of_ms) & (as_of_ms < every.known_to)
    count = 0
    if unrecorded and len(known):
        first = np.append(True, every.times[1:] != every.times[:-1])
        public = every.times + key.public_after_ms <= as_of_ms
        added = first & public & (every.known_from > as_of_ms)
        count = int(added.sum())
        known |= added
    return Versions(every.times[known], every.values[known], every.known_from[known], count)


def _select(every: Revisions, lines: npt.NDArray[np.bool_]) -> Revisions:
    return Revisions(
        every.times[lines], every.values[lines], every.known_from[lines], every.known_to[lines]
    )


def _every_version(key: SeriesKey, current: Piece | None, old: Superseded | None) -> Revisions:
    """All versions, ascending by time and then by known_from."""
    none = np.empty(0, np.int64)
    parts = [(none, np.empty((0, key.width)), none, none)]
    if old is not None:
        parts.append((old.times, old.values, old.known_from, old.known_to))
    if current is not None:
        never = np.full(len(current), NEVER_MS)
        parts.append((current.times, current.values, current.known_at, never))
    columns = zip(*parts, strict=True)
    times, values, known_from, known_to = (np.concatenate(column) for column in columns)
    order = np.lexsort((known_from, times))
    return Revisions(times[order], values[order], known_from[order], known_to[order])


_SERIES: Final = """
    SELECT exchange, symbol, kind, interval_ms FROM history_series
    WHERE ($1::text IS NULL OR kind = $1 COLLATE "C")
        AND ($2::text IS NULL OR exchange = $2 COLLATE "C")
        AND ($3::text IS NULL OR symbol = $3 COLLATE "C")
"""
