"""What is asked of series before their rows are read: their first and last time, and a state."""

from collections.abc import Iterable
from typing import Final

from stores.cold.history.queries import Alike, Range
from stores.cold.history.series import RangeState
from stores.cold.pool import Connection

# The sums are numeric, which Python takes as Decimal: their text tells them, digit by digit.
_CHUNKS: Final = """
    SELECT count(*), sum(n), sum(checksum), max(newest_known_at) FROM {table}
    WHERE series_id = ANY($1::int[]) AND slot BETWEEN $2 AND $3
"""
_RECENT: Final = """
    SELECT count(*), sum(t), sum(known_at), max(known_at) FROM {table}
    WHERE t >= $2 AND t < $3 AND series_id = ANY($1::int[])
"""
_REVISIONS: Final = """
    SELECT count(*), sum(known_from), sum(known_to), max(known_to) FROM {table}
    WHERE series_id = ANY($1::int[]) AND t >= $2 AND t < $3
"""
# Of each series its first and its last row of the table, found in the table's key.
_ENDS: Final = """
    SELECT min(a.{first}), max(b.{last}) FROM unnest($1::int[]) AS s (id)
    CROSS JOIN LATERAL
        (SELECT {first} FROM {table} WHERE series_id = s.id ORDER BY {key} LIMIT 1) AS a
    CROSS JOIN LATERAL
        (SELECT {last} FROM {table} WHERE series_id = s.id ORDER BY {key} DESC LIMIT 1) AS b
"""
_RECENT_ENDS: Final = "SELECT min(t), max(t) FROM {table} WHERE series_id = ANY($1::int[])"


async def find_ends(connection: Connection, series: Alike) -> list[tuple[int, int]]:
    """The first and the last time in each place where the series have rows, superseded ones too."""
    tables = series.tables
    queries = (
        _ENDS.format(table=tables.chunks.name, first="first_t", last="last_t", key="slot"),
        _ENDS.format(table=tables.revisions, first="t", last="t", key="t"),
        _RECENT_ENDS.format(table=tables.recent),
    )
    found = [(await connection.fetch(query, series.ids))[0] for query in queries]
    return [(first, last) for first, last in found if first is not None]


async def read_state(connection: Connection, series: Alike, wanted: Range) -> RangeState:
    """The state of the range, with that of the chunks that reach into it."""
    tables = series.tables
    slots = wanted.slots(series.interval_ms)
    times = (wanted.from_ms, wanted.to_ms)
    found = [
        (await connection.fetch(query, series.ids, *span))[0]
        for query, span in (
            (_CHUNKS.format(table=tables.chunks.name), slots),
            (_RECENT.format(table=tables.recent), times),
            (_REVISIONS.format(table=tables.revisions), times),
        )
    ]
    newest = [row[3] for row in found if row[3] is not None]
    mark = " ".join(f"{number or 0}" for row in found for number in row)
    return RangeState(mark, max(newest, default=None))


def joined_state(states: Iterable[RangeState]) -> RangeState:
    """The state of ranges of several kinds of series."""
    every = list(states)
    newest = [state.newest_ms for state in every if state.newest_ms is not None]
    return RangeState(", ".join(state.mark for state in every), max(newest, default=None))
