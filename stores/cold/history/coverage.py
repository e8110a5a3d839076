"""Coverage: the ranges of a series that an exchange has answered for, holes included.

Ranges of one series never overlap. A later answer takes the place of earlier ones, but for those on
a finer grid: who was asked for every 5 minutes has told the hours, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from market.rows import Times
from market.timeframes import HOUR_MS
from stores.cold.history.fill_rows import REST, Covered
from stores.cold.pool import Connection

# Touching ranges that were checked less than that apart are one: pages of one walk.
_ONE_CHECK_MS: Final = HOUR_MS


async def read_coverage(connection: Connection, ids: Sequence[int]) -> Mapping[int, list[Covered]]:
    """The ranges of each of these series that has any, ascending."""
    rows = await connection.fetch(
        "SELECT series_id, from_t, to_t, checked_at, step_ms FROM history_coverage"
        " WHERE series_id = ANY($1::int[]) ORDER BY series_id, from_t",
        list(ids),
    )
    found: dict[int, list[Covered]] = {}
    for series_id, *columns in rows:
        found.setdefault(series_id, []).append(Covered(*columns))
    return found


async def write_coverage(connection: Connection, series_id: int, new: Sequence[Covered]) -> None:
    """Notes what an exchange has answered for, one range after the other, for the one who writes
    the record."""
    if not new:
        return
    rows = await connection.fetch(
        "SELECT from_t, to_t, checked_at, step_ms FROM history_coverage"
        " WHERE series_id = $1 AND from_t <= $3 AND to_t >= $2 ORDER BY from_t",
        *(series_id, min(each.from_ms for each in new), max(each.to_ms for each in new)),
    )
    old = found = [Covered(*row) for row in rows]
    for each in new:
        found = joined(found, each)
    await _replace(connection, series_id, old, found)


async def uncover(connection: Connection, series_id: int, from_ms: int, to_ms: int) -> None:
    """Forgets that an exchange was asked for a range, for the one who writes the record."""
    covered = (await read_coverage(connection, [series_id])).get(series_id, [])
    gone = Covered(from_ms, to_ms, 0)
    kept = [part for each in covered for part in _without(each, [gone])]
    await _replace(connection, series_id, covered, kept)


async def _replace(
    connection: Connection, series_id: int, old: Sequence[Covered], found: Sequence[Covered]
) -> None:
    if found == old:
        return
    if outdated := [each.from_ms for each in old if each not in found]:
        await connection.execute(
            "DELETE FROM history_coverage WHERE series_id = $1 AND from_t = ANY($2::bigint[])",
            *(series_id, outdated),
        )
    await connection.executemany(
        "INSERT INTO history_coverage (series_id, from_t, to_t, source, checked_at, step_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (series_id, each.from_ms, each.to_ms, REST, each.checked_at_ms, each.step_ms)
            for each in found
            if each not in old
        ],
    )


def joined(old: Sequence[Covered], new: Covered) -> list[Covered]:
    """The ranges `old`, which ascend, with one more answer."""
    finer = [each for each in old if _is_finer(each, new)]
    parts = [*_without(new, finer), *finer]
    for each in old:
        if each not in finer:
            parts += _without(each, [new])
    found: list[Covered] = []
    for each in sorted(parts, key=lambda part: part.from_ms):
        last = found[-1] if found else None
        if (
            last is not None
            and last.to_ms == each.from_ms
            and last.step_ms == each.step_ms
            and abs(last.checked_at_ms - each.checked_at_ms) < _ONE_CHECK_MS
        ):
            checked_at_ms = min(last.checked_at_ms, each.checked_at_ms)
            found[-1] = Covered(last.from_ms, each.to_ms, checked_at_ms, each.step_ms)
        else:
            found.append(each)
    return found


def is_covered(times: Times, covered: Sequence[Covered]) -> npt.NDArray[np.bool_]:
    """Which of these times, which ascend, the exchange was asked for."""
    found = np.zeros(len(times), np.bool_)
    for each in covered:
        begin, end = times.searchsorted((each.from_ms, each.to_ms))
        found[begin:end] |= times[begin:end] % each.step_ms == 0
    return found


def uncovered(from_ms: int, to_ms: int, covered: Sequence[Covered]) -> list[tuple[int, int]]:
    """The parts of a range that the exchange was not asked for, on any grid."""
    if from_ms >= to_ms:
        return []
    whole = Covered(from_ms, to_ms, 0)
    return [(each.from_ms, each.to_ms) for each in _without(whole, covered)]


def _is_finer(one: Covered, other: Covered) -> bool:
    return one.step_ms < other.step_ms and other.step_ms % one.step_ms == 0


def _without(whole: Covered, others: Sequence[Covered]) -> list[Covered]:
    """The parts of a range that lie in none of the others, which ascend."""
    found, begin_ms = [], whole.from_ms
    for other in others:
        if other.from_ms > begin_ms:
            found.append(replace(whole, from_ms=begin_ms, to_ms=min(other.from_ms, whole.to_ms)))
        begin_ms = max(begin_ms, other.to_ms)
        if begin_ms >= whole.to_ms:
            break
    if begin_ms < whole.to_ms:
        found.append(replace(whole, from_ms=begin_ms))
    return [each for each in found if each.from_ms < each.to_ms]
