"""Chunks in their tables: which there are, what is in them, and how they are replaced."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog

from stores.cold.history.chunk_rows import piece_of
from stores.cold.history.codec import DamagedChunk, Piece, UnknownFormat, encode
from stores.cold.history.record_tables import RecordTables, copy_into
from stores.cold.history.series import CHUNK_INSTANTS, SeriesKey
from stores.cold.history.set_aside import set_aside
from stores.cold.pool import Connection

Place = tuple[int, int]  # series_id and slot
_MOST_WRITTEN: Final = 500  # chunks in one COPY, about 10 MB
_MOST_ENCODED_HERE: Final = 8  # chunks; more are work for a thread, beside the event loop

log = structlog.get_logger(__name__)


async def read_chunks(
    connection: Connection,
    tables: RecordTables,
    places: Sequence[Place],
    keys: Mapping[int, SeriesKey],
) -> tuple[dict[Place, Piece], set[Place]]:
    """The rows of the chunks at these places, and the places of those that a later release has
    written; `keys` by series_id. For the one who writes the record, within a transaction: damaged
    chunks are set aside."""
    if not places:
        return {}, set()
    rows = await connection.fetch(
        f"SELECT {tables.chunks.selected()} FROM {_at(tables)}",  # noqa: S608 - our own names
        *_columns(places),
    )
    found: dict[Place, Piece] = {}
    unknown: set[Place] = set()
    for row in rows:
        place, key = (row["series_id"], row["slot"]), keys[row["series_id"]]
        try:
            found[place] = piece_of(tables.chunks, key, row)
        except UnknownFormat as error:
            log.error("history_chunk_unreadable", error=str(error))
            unknown.add(place)
        except DamagedChunk as error:
            await set_aside(connection, tables.chunks.name, key, row, error)
    return found, unknown


async def replace_chunks(
    connection: Connection,
    tables: RecordTables,
    pieces: Mapping[Place, Piece],
    keys: Mapping[int, SeriesKey],
    *,
    there: Collection[Place] | None = None,
) -> int:
    """Writes these chunks in the place of those that are there; returns how many. An empty piece
    leaves none. `there`: the places where chunks are, if that is known."""
    if outdated := [place for place in pieces if there is None or place in there]:
        await connection.execute(
            f"DELETE FROM {tables.chunks.name} AS c"  # noqa: S608 - our own names
            " USING unnest($1::int[], $2::int[]) AS x(series_id, slot)"
            " WHERE c.series_id = x.series_id AND c.slot = x.slot",
            *_columns(outdated),
        )
    written = [(place, piece) for place, piece in sorted(pieces.items(), key=_place) if len(piece)]
    for begin in range(0, len(written), _MOST_WRITTEN):
        some = written[begin : begin + _MOST_WRITTEN]
        if len(some) > _MOST_ENCODED_HERE:
            rows = await asyncio.to_thread(_rows_of, tables, some, keys)
        else:
            rows = _rows_of(tables, some, keys)
        await copy_into(connection, tables.chunks.name, tables.chunks.columns, rows)
    return len(written)


def _rows_of(
    tables: RecordTables, written: Sequence[tuple[Place, Piece]], keys: Mapping[int, SeriesKey]
) -> list[bytes]:
    """The rows of COPY; CPU work, about half a millisecond for each chunk."""
    return [
        tables.chunks.copy_bytes(*place, encode(piece, keys[place[0]].interval_ms))
        for place, piece in written
    ]


def slot_ms(interval_ms: int) -> int:
    """How much time a slot spans."""
    return interval_ms * CHUNK_INSTANTS


def _place(item: tuple[Place, Piece]) -> Place:
    return item[0]


def _at(tables: RecordTables) -> str:
    # Row by row by the key: a plan that reads the whole table is never the better one.
    return f"""unnest($1::int[], $2::int[]) AS x(series_id, slot) CROSS JOIN LATERAL (
        SELECT * FROM {tables.chunks.name} AS t
        WHERE t.series_id = x.series_id AND t.slot = x.slot OFFSET 0) AS c"""  # noqa: S608


def _columns(places: Sequence[Place]) -> tuple[list[int], list[int]]:
    return [series_id for series_id, _ in places], [slot for _, slot in places]
