"""The ids of series: found by name, and given to series that are new."""

from collections.abc import Sequence
from typing import Final

from stores.cold.history.series import SeriesKey
from stores.cold.names import unstorable
from stores.cold.pool import Connection


async def find_ids(connection: Connection, keys: Sequence[SeriesKey]) -> dict[SeriesKey, int]:
    """The ids of those series that are stored."""
    names = await unstorable(connection, _names(keys))
    return await _find(connection, [key for key in keys if not names & {*_names([key])}])


async def make_ids(
    connection: Connection, keys: Sequence[SeriesKey]
) -> tuple[dict[SeriesKey, int], list[SeriesKey]]:
    """The ids of all series, new ones included, and the series whose names cannot be stored.

    Only for the one who writes the record."""
    names = await unstorable(connection, _names(keys))
    refused = [key for key in keys if names & {*_names([key])}]
    wanted = [key for key in keys if not names & {*_names([key])}]
    found = await _find(connection, wanted)
    if new := sorted({key for key in wanted if key not in found}):
        await connection.execute(_INSERT, *_columns(new))
        found |= await _find(connection, new)
    return found, refused


async def _find(connection: Connection, keys: Sequence[SeriesKey]) -> dict[SeriesKey, int]:
    # Never kept from one transaction to the next: another database may have come in its place.
    rows = await connection.fetch(_FIND, *_columns(keys))
    return {keys[row["i"] - 1]: row["series_id"] for row in rows}


def _names(keys: Sequence[SeriesKey]) -> set[str]:
    return {name for key in keys for name in (key.exchange, key.symbol)}


def _columns(keys: Sequence[SeriesKey]) -> tuple[list[str], list[str], list[str], list[int]]:
    return (
        [key.exchange for key in keys],
        [key.symbol for key in keys],
        [key.kind for key in keys],
        [key.interval_ms for key in keys],
    )


_NAMES: Final = "unnest($1::text[], $2::text[], $3::text[], $4::bigint[])"
_FIND: Final = f"""
    SELECT x.i, s.series_id
    FROM {_NAMES} WITH ORDINALITY AS x(exchange, symbol, kind, interval_ms, i)
    JOIN history_series AS s ON s.exchange = x.exchange COLLATE "C"
        AND s.symbol = x.symbol COLLATE "C" AND s.kind = x.kind COLLATE "C"
        AND s.interval_ms = x.interval_ms
"""  # noqa: S608 - our own text
_INSERT: Final = f"""
    INSERT INTO history_series (exchange, symbol, kind, interval_ms) SELECT * FROM {_NAMES}
"""  # noqa: S608 - our own text
