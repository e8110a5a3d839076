"""Compaction: what came lately goes into chunks, in transactions of bounded size.

A row goes when it has been known for long enough and its slot is over, or enough others of its slot
go with it: a chunk is written anew as a whole each time, which costs the write-ahead log. Each
transaction takes rows out and puts them into chunks, so that readers and kills see both or neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import numpy as np

from stores.cold.history.chunk_store import Place, read_chunks, replace_chunks, slot_ms
from stores.cold.history.codec import Piece
from stores.cold.history.record_tables import ALL, RecordTables, lock_writers
from stores.cold.history.row_groups import by_series
from stores.cold.history.series import CHUNK_INSTANTS, Compacted, SeriesKey
from stores.cold.pool import Connection

# Rows of one slot that are worth a chunk's writing before the slot is over: of 5m and 15m a day's,
# of 1h those of three days. With fewer, the day's chunks cost the log more than its rows do.
_ENOUGH: Final = 64
# Of one transaction: some 15 MB of write-ahead log, a second of the writers' lock.
_MOST_ROWS: Final = 40_000
_MOST_PLACES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Slots of one set of tables that are compacted in one transaction."""

    tables: RecordTables
    places: Sequence[Place]
    keys: dict[int, SeriesKey]


async def find_batches(connection: Connection, before_known_ms: int) -> list[Batch]:
    """What a compaction has to do."""
    found: list[Batch] = []
    for tables in ALL:
        rows = await connection.fetch(
            _PLACES.format(recent=tables.recent), before_known_ms, CHUNK_INSTANTS, _ENOUGH
        )
        places: list[Place] = []
        keys: dict[int, SeriesKey] = {}
        count = 0
        for row in rows:
            if places and (count + row["n"] > _MOST_ROWS or len(places) == _MOST_PLACES):
                found.append(Batch(tables, places, keys))
                places, keys, count = [], {}, 0
            key = SeriesKey(row["exchange"], row["symbol"], row["kind"], row["interval_ms"])
            keys[row["series_id"]] = key
            places.append((row["series_id"], row["slot"]))
            count += row["n"]
        if places:
            found.append(Batch(tables, places, keys))
    return found


async def compact_batch(connection: Connection, batch: Batch, before_known_ms: int) -> Compacted:
    """Moves the rows of the batch that are still there; those of a later release's chunk stay."""
    tables = batch.tables
    async with connection.transaction():
        await lock_writers(connection)
        # All of these series, of which few rows are not of the batch: by slots, a plan might look
        # for each slot among the rows of all series.
        rows = await connection.fetch(
            f"SELECT r.series_id, r.t, r.known_at, {tables.listed('r')}"  # noqa: S608 - our names
            f" FROM {tables.recent} AS r"
            " WHERE r.series_id BETWEEN $1 AND $2 AND r.known_at < $3",
            batch.places[0][0],
            batch.places[-1][0],
            before_known_ms,
        )
        come = _pieces(batch, rows)
        old, damaged = await read_chunks(connection, tables, list(come), batch.keys)
        come = {place: piece for place, piece in come.items() if place not in damaged}
        if not come:
            return Compacted()
        await connection.execute(
            f"DELETE FROM {tables.recent} AS r"  # noqa: S608 - our own names
            " USING unnest($1::bigint[], $2::int[]) AS x(t, series_id)"
            " WHERE r.t = x.t AND r.series_id = x.series_id",
            [t for piece in come.values() for t in piece.times.tolist()],
            [series_id for (series_id, _), piece in come.items() for _ in range(len(piece))],
        )
        joined = {
            place: Piece.joined([old[place], piece] if place in old else [piece])
            for place, piece in come.items()
        }
        chunks = await replace_chunks(connection, tables, joined, batch.keys)
    return Compacted(sum(map(len, come.values())), chunks)


def _pieces(batch: Batch, rows: Sequence[asyncpg.Record]) -> dict[Place, Piece]:
    """The rows that are of the batch, by their place."""
    wanted = set(batch.places)
    found = {}
    for series_id, (times, known_at), values in by_series(rows, 2):
        if (key := batch.keys.get(series_id)) is None:
            continue
        piece = Piece(times, values, known_at)
        slots = times // slot_ms(key.interval_ms)
        for slot in np.unique(slots).tolist():
            if (series_id, slot) in wanted:
                found[series_id, slot] = piece.select(slots == slot)
    return found


_PLACES: Final = """
    SELECT p.series_id, p.slot::int AS slot, p.n, s.exchange, s.symbol, s.kind, s.interval_ms
    FROM (
        SELECT r.series_id, r.t / (i.interval_ms * $2) AS slot, count(*) AS n
        FROM {recent} AS r JOIN history_series AS i ON i.series_id = r.series_id
        WHERE r.known_at < $1 GROUP BY 1, 2
    ) AS p JOIN history_series AS s ON s.series_id = p.series_id
    WHERE p.n >= $3 OR (p.slot + 1) * s.interval_ms * $2 <= $1
    ORDER BY p.series_id, p.slot
"""
