"""Which instants of many series are stored, without their values, in little memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import numpy as np

from market.rows import Times
from stores.cold.history.arrays import MisshapenArray, array_from
from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.record_tables import ALL, RecordTables, tables_of
from stores.cold.history.row_groups import by_series
from stores.cold.history.series import SeriesKey
from stores.cold.history.series_ids import find_ids
from stores.cold.pool import Connection


@dataclass(slots=True)
class StoredInstants:
    """The stored times of one series, in parts: a year without a hole takes as little as an hour.

    All instants of a chunk that cannot be read count as stored: nothing could be stored there.
    """

    parts: list[range | Times] = field(default_factory=list)

    @property
    def extent(self) -> tuple[int, int] | None:
        """The first and the last time; None without any."""
        if not self.parts:
            return None
        return int(min(part[0] for part in self.parts)), int(max(part[-1] for part in self.parts))

    def times(self) -> Times:
        """All of them, ascending, none twice."""
        none = np.empty(0, np.int64)
        arrays = [
            np.arange(part.start, part.stop, part.step) if isinstance(part, range) else part
            for part in self.parts
        ]
        return np.unique(np.concatenate([none, *arrays]))

    def add(self, part: range) -> None:
        """Adds a part, joined with the one before if it goes on as that does."""
        last = self.parts[-1] if self.parts else None
        if isinstance(last, range) and (last.step, last.stop) == (part.step, part.start):
            self.parts[-1] = range(last.start, part.stop, part.step)
        else:
            self.parts.append(part)


async def read_instants(
    connection: Connection, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, StoredInstants]:
    """The stored instants of each of the keys that is stored."""
    ids = await find_ids(connection, keys)
    by_id = {series_id: key for key, series_id in ids.items()}
    found = {key: StoredInstants() for key in ids}
    for tables in ALL:
        some = [series_id for series_id, key in by_id.items() if tables_of(key) is tables]
        if not some:
            continue
        # Recent rows first: what is compacted in between is seen twice, not lost.
        recent = await connection.fetch(
            f"SELECT series_id, t FROM {tables.recent}"  # noqa: S608 - our own names
            " WHERE series_id = ANY($1::int[]) ORDER BY series_id, t",
            some,
        )
        for row in await _chunks(connection, tables, some):
            key = by_id[row["series_id"]]
            instants = _instants_of(key, row)
            if isinstance(instants, range):
                found[key].add(instants)
            else:
                found[key].parts.append(instants)
        for series_id, (times,), _ in by_series(recent, 1):
            found[by_id[series_id]].parts.append(times)
    return found


async def _chunks(
    connection: Connection, tables: RecordTables, ids: Sequence[int]
) -> list[asyncpg.Record]:
    return await connection.fetch(
        "SELECT c.series_id, c.slot, c.n, c.first_t, c.last_t, c.step_ms,"  # noqa: S608
        " coalesce(array_send(c.steps_int2), array_send(c.steps_int4), array_send(c.steps_int8))"
        f" AS steps FROM {tables.chunks.name} AS c"
        " WHERE c.series_id = ANY($1::int[]) ORDER BY c.series_id, c.slot",
        list(ids),
    )


def _instants_of(key: SeriesKey, row: asyncpg.Record) -> range | Times:
    n, first_ms, last_ms, step_ms = row["n"], row["first_t"], row["last_t"], row["step_ms"]
    if row["steps"] is None:
        if step_ms > 0 and first_ms + (n - 1) * step_ms == last_ms:
            return range(first_ms, last_ms + step_ms, step_ms)
    else:
        try:
            steps = array_from(row["steps"])
            if len(steps) == n > 0:
                times: Times = first_ms + step_ms * steps
                return times
        except MisshapenArray:
            pass
    begin_ms = row["slot"] * slot_ms(key.interval_ms)
    return range(begin_ms, begin_ms + slot_ms(key.interval_ms), key.interval_ms)
