"""Damaged chunks: set aside, so that their slots can be filled again, and what is lost is told."""

from typing import Final

import asyncpg
import structlog

from stores.cold.history.codec import DamagedChunk
from stores.cold.history.coverage import uncover
from stores.cold.history.series import CHUNK_INSTANTS, SeriesKey
from stores.cold.pool import Connection
from timing.clock import utc_text

log = structlog.get_logger(__name__)


async def set_aside(
    connection: Connection, table: str, key: SeriesKey, row: asyncpg.Record, error: DamagedChunk
) -> None:
    """Moves a damaged chunk out of its table, and forgets that exchanges were asked for its span:
    for the one who writes the record, within a transaction. `row`: of the chunk."""
    series_id, slot = row["series_id"], row["slot"]
    span_ms = key.interval_ms * CHUNK_INSTANTS
    from_ms, to_ms = slot * span_ms, (slot + 1) * span_ms
    await connection.execute(
        _KEEP.format(table=table), series_id, slot, from_ms, to_ms, ascii(str(error))
    )
    await connection.execute(
        f"DELETE FROM {table} WHERE series_id = $1 AND slot = $2",  # noqa: S608 - our own names
        *(series_id, slot),
    )
    await uncover(connection, series_id, from_ms, to_ms)
    log.error(
        "history_chunk_damaged",
        exchange=key.exchange,
        symbol=key.symbol,
        kind=key.kind,
        interval_ms=key.interval_ms,
        since=utc_text(from_ms),
        until=utc_text(to_ms),
        rows=row["n"],
        error=str(error),
        hint="these rows are lost; documents and backfills bring them again, known since then",
    )


_KEEP: Final = """
    INSERT INTO history_damaged_chunks (series_id, slot, from_t, to_t, n, error, found_at, chunk)
    SELECT $1, $2, $3, $4, c.n, $5, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        row_to_json(c)
    FROM {table} AS c WHERE c.series_id = $1 AND c.slot = $2
"""
