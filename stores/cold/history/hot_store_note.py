"""The note of the hot store whose publishes are recorded, so that two never share the cursors."""

from dataclasses import dataclass
from typing import Final

from market.timeframes import MINUTE_MS
from stores.cold.pool import Connection, Pool

# For so long nothing of a store is recorded before another one takes its place.
LEFT_AFTER_MS: Final = 15 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class OtherStore:
    """Another store is noted, of which something was recorded last at `recorded_ms` (UTC ms)."""

    store_id: str
    recorded_ms: int
    is_left: bool  # LEFT_AFTER_MS are over, so that ours was noted in its place


async def note_hot_store(pool: Pool, store_id: str, now_ms: int) -> OtherStore | None:
    """Notes the store, unless another one is in use; returns the other one that was noted, if any.
    One statement, which writes only what has changed. Raises DatabaseUnavailable."""

    async def write(connection: Connection) -> OtherStore | None:
        row = await connection.fetchrow(_NOTE, store_id, now_ms, now_ms - LEFT_AFTER_MS)
        return None if row is None else OtherStore(**row)

    return await pool.write(write)


# A time that has not come is of a clock that was ahead, and keeps nobody waiting.
_NOTE: Final = """
    WITH before AS (
        SELECT n.store_id, greatest(n.noted_at, (SELECT max(stored_at) FROM history_stored
            WHERE stored_at <= $2)) AS recorded_ms
        FROM history_hot_store AS n FOR UPDATE
    ), other AS (
        SELECT store_id, recorded_ms, NOT recorded_ms BETWEEN $3 AND $2 AS is_left
        FROM before WHERE store_id <> $1
    ), noted AS (
        INSERT INTO history_hot_store AS n (store_id, noted_at) SELECT $1, $2
        WHERE NOT EXISTS (SELECT FROM before) OR EXISTS (SELECT FROM other WHERE is_left)
        ON CONFLICT (is_one)
            DO UPDATE SET store_id = excluded.store_id, noted_at = excluded.noted_at
    )
    SELECT * FROM other
"""
