"""Retention: removes what is older than a time, slot by slot, so that no chunk is cut."""

from collections.abc import Sequence
from typing import Final

from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.record_tables import RecordTables, lock_writers
from stores.cold.history.series import Kind, Retained
from stores.cold.pool import Connection

MOST_SERIES = 500  # of one transaction


async def series_of(connection: Connection, kind: Kind, interval_ms: int) -> list[int]:
    """The ids of the series of that kind and interval."""
    rows = await connection.fetch(
        "SELECT series_id FROM history_series"
        ' WHERE kind = $1 COLLATE "C" AND interval_ms = $2 ORDER BY series_id',
        kind,
        interval_ms,
    )
    return [row["series_id"] for row in rows]


async def remove_before(
    connection: Connection,
    tables: RecordTables,
    ids: Sequence[int],
    interval_ms: int,
    before_ms: int,
) -> Retained:
    """Removes all slots of these series that end at or before that time, superseded values too."""
    slot = before_ms // slot_ms(interval_ms)
    first_ms = slot * slot_ms(interval_ms)
    async with connection.transaction():
        await lock_writers(connection)
        counts = [
            _count(await connection.execute(f"DELETE FROM {where}", list(ids), bound))  # noqa: S608
            for where, bound in (
                (f"{tables.chunks.name} WHERE series_id = ANY($1::int[]) AND slot < $2", slot),
                (f"{tables.recent} WHERE series_id = ANY($1::int[]) AND t < $2", first_ms),
                (f"{tables.revisions} WHERE series_id = ANY($1::int[]) AND t < $2", first_ms),
            )
        ]
        for statement in _BESIDE:
            await connection.execute(statement, list(ids), first_ms)
    return Retained(*counts)


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


# What else is known of the time before. Ranges that reach beyond it are cut; those of coverage
# and of holes do not overlap, so that no other begins where they then do.
_BESIDE: Final = (
    "DELETE FROM history_batches WHERE series_id = ANY($1::int[]) AND to_t <= $2",
    "DELETE FROM history_damaged_chunks WHERE series_id = ANY($1::int[]) AND to_t <= $2",
    *(
        statement
        for table in ("history_coverage", "history_holes")
        for statement in (
            f"DELETE FROM {table} WHERE series_id = ANY($1::int[]) AND to_t <= $2",  # noqa: S608
            f"UPDATE {table} SET from_t = $2"  # noqa: S608 - our own names
            " WHERE series_id = ANY($1::int[]) AND from_t < $2",
        )
    ),
)
