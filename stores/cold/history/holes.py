"""HistoryHoles: which holes of the record the exchanges were asked for again, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stores.cold.history.series import SeriesKey
from stores.cold.history.series_ids import find_ids
from stores.cold.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class AskedHole:
    """Instants from `from_ms` to before `to_ms` that an exchange was asked for first and last at
    these times, and had nothing of (UTC ms)."""

    from_ms: int
    to_ms: int
    first_asked_ms: int
    asked_ms: int


class HistoryHoles:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def asked(self, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, list[AskedHole]]:
        """The noted holes of each of the keys, ascending."""

        async def read(connection: Connection) -> Mapping[SeriesKey, list[AskedHole]]:
            ids = await find_ids(connection, list(dict.fromkeys(keys)))
            by_id = {series_id: key for key, series_id in ids.items()}
            found: dict[SeriesKey, list[AskedHole]] = {key: [] for key in keys}
            rows = await connection.fetch(
                "SELECT series_id, from_t, to_t, first_asked_at, asked_at FROM history_holes"
                " WHERE series_id = ANY($1::int[]) ORDER BY series_id, from_t",
                list(by_id),
            )
            for series_id, *columns in rows:
                found[by_id[series_id]].append(AskedHole(*columns))
            return found

        return await self._pool.read(read)

    async def replace(self, holes: Mapping[SeriesKey, Sequence[AskedHole]]) -> None:
        """Notes these in the place of all that is noted of their series, in one transaction.
        Those of a series that is not stored are left out. Raises ValueError if two overlap."""
        for key, each in holes.items():
            for one, following in pairwise(each):
                if one.to_ms > following.from_ms:
                    raise ValueError(f"{key}: holes that overlap or do not ascend")

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                ids = await find_ids(connection, list(holes))
                await connection.execute(
                    "DELETE FROM history_holes WHERE series_id = ANY($1::int[])",
                    list(ids.values()),
                )
                rows = [
                    (ids[key], hole.from_ms, hole.to_ms, hole.first_asked_ms, hole.asked_ms)
                    for key, each in holes.items()
                    for hole in each
                    if key in ids
                ]
                await connection.copy_records_to_table(
                    "history_holes",
                    records=rows,
                    columns=("series_id", "from_t", "to_t", "first_asked_at", "asked_at"),
                )

        await self._pool.write(write)
