"""Filling in: what backfills and imports bring goes into the record, under the rules of its source.

What REST says is a correction wherever it differs. What an archive says is one only where our value
came from an archive; what an export says never is. Elsewhere ours stays, and the other one becomes
a revision that was known from and to one moment: it is listed, and never was in force.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from stores.cold.history.chunk_store import Place, slot_ms
from stores.cold.history.coverage import write_coverage
from stores.cold.history.fill_rows import ARCHIVE, EXPORT, Covered, Filled, FillRows, Source
from stores.cold.history.filling_part import Batch, FillingPart, PartRows
from stores.cold.history.record_tables import tables_of
from stores.cold.history.series import SeriesKey
from stores.cold.history.series_ids import make_ids
from stores.cold.pool import Connection

# Of one series, which are read, compared and written together: some 6 MB, 30 ms of encoding.
_SLOTS_AT_ONCE: Final = 64


async def fill_rows(
    connection: Connection, rows: Sequence[FillRows], source: Source, now_ms: int
) -> Filled:
    """Fills in rows that `FillRows.check` has passed, for the one who writes the record."""
    wanted = [each for each in rows if each.covered or len(each.times)]
    ids, refused = await make_ids(connection, list({each.key: None for each in wanted}))
    filled = Filled(refused=tuple(sorted(refused)))
    for some in _together(wanted):
        if (series_id := ids.get(some[0].key)) is not None:
            filled += await _Filling(connection, some, series_id, source, now_ms).fill()
    return filled


def _together(rows: Sequence[FillRows]) -> Iterator[list[FillRows]]:
    """The ranges of each series, ascending, such as the pages of a walk, whose slots are then
    written once; one by one, in their order, if some of them overlap."""
    found: dict[SeriesKey, list[FillRows]] = {}
    for each in rows:
        found.setdefault(each.key, []).append(each)
    for some in found.values():
        ordered = sorted(some, key=lambda each: each.from_ms)
        if all(one.to_ms <= following.from_ms for one, following in pairwise(ordered)):
            yield ordered
        else:
            yield from ([each] for each in some)


class _Filling:
    """The filling in of some ranges of one series, which ascend."""

    def __init__(
        self,
        connection: Connection,
        ranges: Sequence[FillRows],
        series_id: int,
        source: Source,
        now_ms: int,
    ) -> None:
        self._connection = connection
        self._ranges = ranges
        self._key = ranges[0].key
        self._series_id = series_id
        self._source: Source = source
        self._now_ms = now_ms
        self._tables = tables_of(self._key)

    async def fill(self) -> Filled:
        batches = await self._archive_batches() if self._source == ARCHIVE else []
        filled = Filled()
        written: dict[int, tuple[int, int]] = {}
        damaged: list[Place] = []
        for part in self._parts():
            filling = FillingPart(
                self._connection, self._tables, self._key, self._series_id, part,
                self._source, self._now_ms, batches,
            )  # fmt: skip
            filled += await filling.fill()
            damaged += filling.damaged
            for known_at, (first_ms, last_ms) in filling.written().items():
                known = written.get(known_at, (first_ms, last_ms))
                written[known_at] = min(known[0], first_ms), max(known[1], last_ms)
        await self._write_batches(written)
        answered = [part for each in self._ranges for part in self._answered(each, damaged)]
        await write_coverage(self._connection, self._series_id, answered)
        return filled

    def _parts(self) -> Iterator[PartRows]:
        some = [each for each in self._ranges if len(each.times)]
        if not some:
            return
        times = np.concatenate([each.times for each in some])
        values = np.concatenate([each.values for each in some])
        told = [each.known_at for each in some if each.known_at is not None]
        known_at = np.concatenate(told) if told else None
        part_ms = slot_ms(self._key.interval_ms) * _SLOTS_AT_ONCE
        begins = np.flatnonzero(np.diff(times // part_ms)) + 1
        for begin, end in pairwise([0, *begins.tolist(), len(times)]):
            lines = slice(begin, end)
            yield PartRows(
                times[lines], values[lines], None if known_at is None else known_at[lines]
            )

    async def _archive_batches(self) -> list[Batch]:
        rows = await self._connection.fetch(
            "SELECT from_t, to_t, known_at FROM history_batches"
            " WHERE series_id = $1 AND source = $2 AND from_t < $4 AND to_t > $3",
            *(self._series_id, ARCHIVE, self._ranges[0].from_ms, self._ranges[-1].to_ms),
        )
        return [Batch(*row) for row in rows]

    async def _write_batches(self, written: Mapping[int, tuple[int, int]]) -> None:
        if not written:
            return
        if self._source == EXPORT:
            # They keep their times of knowledge, of which there may be as many as rows.
            firsts, lasts = zip(*written.values(), strict=True)
            written = {self._now_ms: (min(firsts), max(lasts))}
        await self._connection.executemany(
            "INSERT INTO history_batches AS b (series_id, from_t, to_t, known_at, source)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (series_id, from_t, known_at, source)"
            " DO UPDATE SET to_t = greatest(b.to_t, excluded.to_t)",
            [
                (self._series_id, first_ms, last_ms + 1, known_at, self._source)
                for known_at, (first_ms, last_ms) in written.items()
            ],
        )

    def _answered(self, rows: FillRows, damaged: Sequence[Place]) -> Iterator[Covered]:
        """What is covered: all but the damaged slots, of which nothing could be stored."""
        if not rows.covered:
            return
        span_ms = slot_ms(self._key.interval_ms)
        step_ms = 1 if rows.step_ms in (None, self._key.interval_ms) else rows.step_ms or 1
        begin_ms = rows.from_ms
        for _, slot in (*damaged, (self._series_id, -(-rows.to_ms // span_ms))):
            end_ms = min(slot * span_ms, rows.to_ms)
            if begin_ms < end_ms:
                yield Covered(begin_ms, end_ms, self._now_ms, step_ms)
            begin_ms = max(begin_ms, (slot + 1) * span_ms)
