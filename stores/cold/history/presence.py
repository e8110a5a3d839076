"""Which instants of a series are stored: times alone, and the ranges that lack them."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import numpy as np

from market.rows import Times, are_among
from market.timeframes import MINUTE_MS
from stores.cold.history.arrays import MisshapenArray, array_from
from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.queries import Range, span_of_recent
from stores.cold.history.record_tables import tables_of
from stores.cold.history.series import FUNDING_MS, SeriesKey
from stores.cold.pool import Connection

Ranges = list[tuple[int, int]]
# Instants that are looked up one by one; more are a range, of which the key alone is read.
_MOST_LOOKUPS: Final = 2_000
# The longest usual distance between two settlements; they may be some seconds late.
_LONGEST_USUAL_MS: Final = FUNDING_MS + MINUTE_MS


async def read_times(
    connection: Connection, key: SeriesKey, series_id: int, from_ms: int, to_ms: int
) -> Times:
    """The times that are stored, ascending, some of them perhaps twice. All instants of a chunk
    that cannot be read count as stored: nothing could be stored there."""
    tables, wanted = tables_of(key), Range(from_ms, to_ms)
    # Recent rows first: what is compacted in between is seen twice, not lost.
    parts = [await _recent_times(connection, key, series_id, wanted)]
    rows = await connection.fetch(
        "SELECT c.slot, c.n, c.first_t, c.last_t, c.step_ms,"  # noqa: S608 - our own names
        " coalesce(array_send(c.steps_int2), array_send(c.steps_int4), array_send(c.steps_int8))"
        f" AS steps FROM {tables.chunks.name} AS c"
        " WHERE c.series_id = $1 AND c.slot BETWEEN $2 AND $3 ORDER BY c.slot",
        series_id,
        *wanted.slots(key.interval_ms),
    )
    parts += [_times_of(key, row) for row in rows]
    times = np.sort(np.concatenate(parts), kind="stable")  # they are in order, but for some
    begin, end = times.searchsorted((from_ms, to_ms))
    return times[begin:end]


async def _recent_times(
    connection: Connection, key: SeriesKey, series_id: int, wanted: Range
) -> Times:
    tables = tables_of(key)
    within = wanted.within(await span_of_recent(connection, tables))
    instants = grid(within.from_ms, within.to_ms, key.interval_ms)
    query = f"SELECT r.t FROM {tables.recent} AS r WHERE r.series_id = $1 AND"  # noqa: S608
    if key.kind != "funding" and len(instants) <= _MOST_LOOKUPS:
        rows = await connection.fetch(
            f"{query} r.t = ANY($2::bigint[])", series_id, instants.tolist()
        )
    else:
        rows = await connection.fetch(
            f"{query} r.t >= $2 AND r.t < $3 ORDER BY r.t", series_id, within.from_ms, within.to_ms
        )
    return np.array([row["t"] for row in rows], np.int64)


def _times_of(key: SeriesKey, row: asyncpg.Record) -> Times:
    n, first_ms, last_ms, step_ms = row["n"], row["first_t"], row["last_t"], row["step_ms"]
    steps = None
    if row["steps"] is not None:
        try:
            steps = array_from(row["steps"])
        except MisshapenArray:
            steps = None
    elif first_ms + (n - 1) * step_ms == last_ms:
        steps = np.arange(n, dtype=np.int64)
    if steps is None or len(steps) != n:
        begin_ms = row["slot"] * slot_ms(key.interval_ms)
        return np.arange(begin_ms, begin_ms + slot_ms(key.interval_ms), key.interval_ms)
    times: Times = first_ms + step_ms * steps
    return times


def grid(from_ms: int, to_ms: int, step_ms: int) -> Times:
    """The instants of a grid, from inclusive, to exclusive."""
    return np.arange(-(-from_ms // step_ms) * step_ms, to_ms, step_ms, dtype=np.int64)


def lacking(instants: Times, there: Times, step_ms: int) -> Ranges:
    """The maximal ranges of these instants of a grid, one after another, that are not `there`."""
    return ranges_of(instants[~are_among(instants, there)], step_ms)


def ranges_of(times: Times, step_ms: int) -> Ranges:
    """The maximal ranges of a grid that times make, which ascend."""
    if not len(times):
        return []
    ends = np.flatnonzero(np.diff(times) > step_ms)
    first, last = np.append(0, ends + 1), np.append(ends, len(times) - 1)
    return list(zip(times[first].tolist(), (times[last] + step_ms).tolist(), strict=True))


def long_distances(times: Times, longest_ms: int | None) -> Ranges:
    """The ranges between two settlements that are farther from each other than that."""
    at = np.flatnonzero(np.diff(times) > (longest_ms or _LONGEST_USUAL_MS))
    return list(zip((times[at] + 1).tolist(), times[at + 1].tolist(), strict=True))


def once(keys: Sequence[SeriesKey]) -> list[SeriesKey]:
    return list(dict.fromkeys(keys))
