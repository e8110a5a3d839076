"""Reading one state of the record: as it is now, as it was known at a time, or every version."""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import asyncpg
import numpy as np

from market.rows import Floats, Times
from stores.cold.history.chunk_rows import piece_of
from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.codec import DamagedChunk, Piece
from stores.cold.history.record_tables import ALL, RecordTables, tables_of
from stores.cold.history.row_groups import by_series
from stores.cold.history.series import NEVER_MS, Kind, Revisions, SeriesKey, Versions
from stores.cold.history.series_ids import find_ids
from stores.cold.pool import DATABASE_TEXT, Connection, DatabaseUnavailable, Session

# Instants times series that are looked up one by one in what came lately; more are a range.
_MOST_LOOKUPS: Final = 50_000
_STREAMED_SLOTS: Final = 16
_SLOTS: Final = (-(2**31), 2**31 - 1)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Wanted:
    from_ms: int
    to_ms: int
    as_of_ms: int | None
    unrecorded: bool


@dataclass(frozen=True, slots=True)
class _Old:
    """Superseded and removed rows of one series."""

    times: Times
    values: Floats
    known_from: Times
    known_to: Times


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
        wanted = _Wanted(from_ms, to_ms, as_of_ms, unrecorded)

        async def read(connection: Connection) -> Mapping[SeriesKey, Versions]:
            ids = await find_ids(connection, _once(keys))
            return await self._read_versions(connection, ids, wanted)

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
    ) -> AsyncGenerator[tuple[SeriesKey, Versions]]:
        async def find(connection: Connection) -> dict[SeriesKey, int]:
            return await find_ids(connection, _once(keys))

        ids = await self._session.read(find)
        for key in _once(keys):
            if (series_id := ids.get(key)) is None:
                continue
            async for first_ms, end_ms in self._windows(key, series_id, from_ms, to_ms):
                wanted = _Wanted(first_ms, end_ms, as_of_ms, unrecorded)

                async def read(
                    connection: Connection,
                    ids: dict[SeriesKey, int] = {key: series_id},  # noqa: B006 - never changed
                    wanted: _Wanted = wanted,
                ) -> Mapping[SeriesKey, Versions]:
                    return await self._read_versions(connection, ids, wanted)

                found = (await self._read(read)).get(key)
                if found is not None and len(found.times):
                    yield key, found

    async def _windows(
        self, key: SeriesKey, series_id: int, from_ms: int, to_ms: int
    ) -> AsyncIterator[tuple[int, int]]:
        """The parts of _STREAMED_SLOTS of the range in which there may be rows."""
        tables, part_ms = tables_of(key), slot_ms(key.interval_ms) * _STREAMED_SLOTS

        async def read(connection: Connection) -> int | None:
            next_ms: int | None = await connection.fetchval(
                _next_time(tables), series_id, from_ms, to_ms
            )
            return next_ms

        while from_ms < to_ms and (next_ms := await self._session.read(read)) is not None:
            first_ms = max(from_ms, next_ms)
            from_ms = min(first_ms - first_ms % part_ms + part_ms, to_ms)
            yield first_ms, from_ms

    async def revisions(
        self, keys: Sequence[SeriesKey], from_ms: int, to_ms: int
    ) -> Mapping[SeriesKey, Revisions]:
        wanted = _Wanted(from_ms, to_ms, None, False)

        async def read(connection: Connection) -> Mapping[SeriesKey, Revisions]:
            ids = await find_ids(connection, _once(keys))
            return await self._read_revisions(connection, ids, wanted)

        found = await self._read(read)
        return {key: found.get(key) or _no_revisions(key) for key in _once(keys)}

    async def _read(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        try:
            return await self._session.read(work)
        except DamagedChunk as error:
            raise DatabaseUnavailable(f"{DATABASE_TEXT}is damaged: {error}") from error

    async def _read_versions(
        self, connection: Connection, ids: Mapping[SeriesKey, int], wanted: _Wanted
    ) -> dict[SeriesKey, Versions]:
        current = await self._read_current(connection, ids, wanted)
        if wanted.as_of_ms is None:
            return {
                key: Versions(piece.times, piece.values, piece.known_at)
                for key, piece in current.items()
            }
        old = await _read_old(connection, ids, wanted)
        return {
            key: _as_of(key, current.get(key), old.get(key), wanted)
            for key in current.keys() | old.keys()
        }

    async def _read_revisions(
        self, connection: Connection, ids: Mapping[SeriesKey, int], wanted: _Wanted
    ) -> dict[SeriesKey, Revisions]:
        current = await self._read_current(connection, ids, wanted)
        old = await _read_old(connection, ids, wanted)
        return {
            key: _every_version(current.get(key), old.get(key))
            for key in current.keys() | old.keys()
        }

    async def _read_current(
        self, connection: Connection, ids: Mapping[SeriesKey, int], wanted: _Wanted
    ) -> dict[SeriesKey, Piece]:
        """The rows of the range that have not been superseded; series without any are left out."""
        parts: dict[SeriesKey, list[Piece]] = {}
        for tables, interval_ms, keys in _alike(ids):
            for key, piece in await _read_chunks(connection, tables, interval_ms, keys, wanted):
                parts.setdefault(key, []).append(piece)
            span = await self._span_of_recent(connection, tables)
            for key, piece in await _read_recent(
                connection, tables, interval_ms, keys, _narrowed(wanted, span)
            ):
                parts.setdefault(key, []).append(piece)
        return {key: Piece.joined(found) for key, found in parts.items()}

    async def _span_of_recent(
        self, connection: Connection, tables: RecordTables
    ) -> tuple[int, int]:
        """From when to before when there are rows that are in no chunk yet."""
        if tables.recent not in self._recent:
            [(first_ms, last_ms)] = await connection.fetch(
                f"SELECT min(t), max(t) FROM {tables.recent}"  # noqa: S608 - our own names
            )
            span = (0, 0) if first_ms is None else (first_ms, last_ms + 1)
            self._recent[tables.recent] = span
        return self._recent[tables.recent]


def _once(keys: Iterable[SeriesKey]) -> list[SeriesKey]:
    return list(dict.fromkeys(keys))


def _no_versions(key: SeriesKey) -> Versions:
    none = np.empty(0, np.int64)
    return Versions(none, np.empty((0, key.width)), none)


def _no_revisions(key: SeriesKey) -> Revisions:
    none = np.empty(0, np.int64)
    return Revisions(none, np.empty((0, key.width)), none, none)


def _alike(
    ids: Mapping[SeriesKey, int],
) -> Iterator[tuple[RecordTables, int, dict[int, SeriesKey]]]:
    """The series by their tables and intervals."""
    groups: dict[tuple[str, int], dict[int, SeriesKey]] = {}
    for key, series_id in ids.items():
        groups.setdefault((key.kind, key.interval_ms), {})[series_id] = key
    for keys in groups.values():
        first = next(iter(keys.values()))
        yield tables_of(first), first.interval_ms, keys


def _narrowed(wanted: _Wanted, span: tuple[int, int]) -> _Wanted:
    return replace(wanted, from_ms=max(wanted.from_ms, span[0]), to_ms=min(wanted.to_ms, span[1]))


async def _read_chunks(
    connection: Connection,
    tables: RecordTables,
    interval_ms: int,
    keys: Mapping[int, SeriesKey],
    wanted: _Wanted,
) -> list[tuple[SeriesKey, Piece]]:
    span_ms = slot_ms(interval_ms)
    slots = (wanted.from_ms // span_ms, (wanted.to_ms - 1) // span_ms)
    rows = await connection.fetch(
        f"SELECT {tables.chunks.selected} FROM {tables.chunks.name} AS c"  # noqa: S608
        " WHERE c.series_id = ANY($1::int[]) AND c.slot BETWEEN $2 AND $3",
        list(keys),
        *(min(max(slot, _SLOTS[0]), _SLOTS[1]) for slot in slots),
    )
    found = []
    for row in rows:
        key = keys[row["series_id"]]
        piece = piece_of(tables.chunks, key, row)
        first, end = piece.times.searchsorted((wanted.from_ms, wanted.to_ms))
        if first < end:
            found.append((key, piece.select(slice(int(first), int(end)))))
    return found


async def _read_recent(
    connection: Connection,
    tables: RecordTables,
    interval_ms: int,
    keys: Mapping[int, SeriesKey],
    wanted: _Wanted,
) -> list[tuple[SeriesKey, Piece]]:
    if wanted.from_ms >= wanted.to_ms:
        return []
    first_ms = -(-wanted.from_ms // interval_ms) * interval_ms
    instants = range(first_ms, wanted.to_ms, interval_ms)
    on_grid = next(iter(keys.values())).kind != "funding"
    arguments: tuple[object, ...]
    if on_grid and len(instants) * len(keys) <= _MOST_LOOKUPS:
        # The key begins with the time: a range would read all other series, too.
        where, arguments = "r.t = ANY($2::bigint[])", (list(instants),)
    else:
        where, arguments = "r.t >= $2 AND r.t < $3", (wanted.from_ms, wanted.to_ms)
    rows = await connection.fetch(
        f"SELECT r.series_id, r.t, r.known_at, {tables.listed('r')}"  # noqa: S608 - our names
        f" FROM {tables.recent} AS r WHERE r.series_id = ANY($1::int[]) AND {where}",
        list(keys),
        *arguments,
    )
    return [
        (keys[series_id], Piece(times, values, known_at))
        for series_id, (times, known_at), values in by_series(rows, 2)
    ]


async def _read_old(
    connection: Connection, ids: Mapping[SeriesKey, int], wanted: _Wanted
) -> dict[SeriesKey, _Old]:
    """The superseded rows of the range. Of what was superseded before `as_of` it is told only
    where it counts: for what is unrecorded."""
    found = {}
    after_ms = -1 if wanted.as_of_ms is None or wanted.unrecorded else wanted.as_of_ms
    for tables in ALL:
        keys = {series_id: key for key, series_id in ids.items() if tables_of(key) is tables}
        if not keys:
            continue
        rows = await connection.fetch(
            "SELECT v.series_id, v.t, v.known_from, v.known_to,"  # noqa: S608 - our own names
            f" {tables.listed('v')} FROM {tables.revisions} AS v"
            " WHERE v.series_id = ANY($1::int[]) AND v.t >= $2 AND v.t < $3 AND v.known_to > $4",
            list(keys), wanted.from_ms, wanted.to_ms, after_ms,
        )  # fmt: skip
        for series_id, (times, known_from, known_to), values in by_series(rows, 3):
            found[keys[series_id]] = _Old(times, values, known_from, known_to)
    return found


def _as_of(key: SeriesKey, current: Piece | None, old: _Old | None, wanted: _Wanted) -> Versions:
    """What was known then: of each time the newest version that was."""
    every = _every_version(current, old)
    as_of_ms = wanted.as_of_ms or 0
    known = (every.known_from <= as_of_ms) & (as_of_ms < every.known_to)
    count = 0
    if wanted.unrecorded:
        first = np.append(True, every.times[1:] != every.times[:-1])
        public = every.times + key.public_after_ms <= as_of_ms
        unrecorded = first & public & (every.known_from > as_of_ms)
        count = int(unrecorded.sum())
        known |= unrecorded
    return Versions(every.times[known], every.values[known], every.known_from[known], count)


def _every_version(current: Piece | None, old: _Old | None) -> Revisions:
    """All versions, ascending by time and then by known_from."""
    parts = [] if old is None else [(old.times, old.values, old.known_from, old.known_to)]
    if current is not None:
        never = np.full(len(current), NEVER_MS)
        parts.append((current.times, current.values, current.known_at, never))
    columns = zip(*parts, strict=True)
    times, values, known_from, known_to = (np.concatenate(column) for column in columns)
    order = np.lexsort((known_from, times))
    return Revisions(times[order], values[order], known_from[order], known_to[order])


def _next_time(tables: RecordTables) -> str:
    """The first time from $2 to before $3 of which series $1 may have a row."""
    chunks, recent, old = tables.chunks.name, tables.recent, tables.revisions
    return f"""
        SELECT least(
            (SELECT first_t FROM {chunks} WHERE series_id = $1 AND last_t >= $2 AND first_t < $3
             ORDER BY slot LIMIT 1),
            (SELECT min(t) FROM {recent} WHERE t >= $2 AND t < $3),
            (SELECT min(t) FROM {old} WHERE series_id = $1 AND t >= $2 AND t < $3))
    """  # noqa: S608 - our own names


_SERIES: Final = """
    SELECT exchange, symbol, kind, interval_ms FROM history_series
    WHERE ($1::text IS NULL OR kind = $1 COLLATE "C")
        AND ($2::text IS NULL OR exchange = $2 COLLATE "C")
        AND ($3::text IS NULL OR symbol = $3 COLLATE "C")
"""
