"""What the tables say of a series without its values: its first and last time, and its rows."""

from typing import Any, Final

import asyncpg

from database import SeriesKey
from stores.cold.pool import Connection

_TABLES: Final = {
    True: ("history_chunks", "history_recent"),
    False: ("history_point_chunks", "history_recent_points"),
}


async def stored_extent(
    connection: "Connection | asyncpg.Connection[Any]", key: SeriesKey
) -> tuple[int, int, int] | None:
    """The first and the last time of a series and the number of its rows; None without rows."""
    chunks, recent = _TABLES[key.kind == "candles"]
    row = await connection.fetchrow(
        f"""
        SELECT min(first_t), max(last_t), sum(n)::bigint FROM (
            SELECT series_id, first_t, last_t, n::bigint FROM {chunks}
            UNION ALL SELECT series_id, t, t, 1 FROM {recent}
        ) AS parts JOIN history_series USING (series_id)
        WHERE (exchange, symbol, kind, interval_ms) = ($1, $2, $3, $4)
        """,  # noqa: S608 - our own names
        *(key.exchange, key.symbol, key.kind, key.interval_ms),
    )
    return None if row is None or row[2] is None else tuple(row)
