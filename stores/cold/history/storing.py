"""Storing what is known since one moment: new values, corrections and removals, in a transaction.

What is there is read first, under the writers' lock, and compared here: two values are the same if
they are equal, or both NaN. A superseded value goes to the revisions; the times of knowledge of one
instant only rise, whatever a clock did.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from market.rows import Floats, Times, located
from stores.cold.history.arrays import copy_columns
from stores.cold.history.chunk_store import (
    Place,
    read_chunks,
    replace_chunks,
    slot_ms,
)
from stores.cold.history.codec import Piece
from stores.cold.history.record_tables import ALL, RecordTables, copy_into, tables_of
from stores.cold.history.series import SeriesKey, SeriesRows, Stored
from stores.cold.history.series_ids import make_ids
from stores.cold.pool import Connection

# So many new rows of one slot go into its chunk at once; fewer wait for the compaction.
_WHOLE: Final = 96
_Flags = npt.NDArray[np.bool_]
_Ids = npt.NDArray[np.int32]


async def store_rows(
    connection: Connection, rows: Sequence[SeriesRows], known_at_ms: int
) -> Stored:
    """Stores rows that `SeriesRows.check` has passed, but none in chunks of a later release."""
    ids, refused = await make_ids(connection, list({each.key: None for each in rows}))
    keys = {series_id: key for key, series_id in ids.items()}
    counts = np.zeros(4, np.int64)
    for tables in ALL:
        stored = [each for each in rows if each.key in ids]
        wanted = [each for each in stored if tables_of(each.key) is tables]
        lines = _Lines.of(wanted, ids)
        if len(lines.times):
            counts += await _Storing(connection, tables, keys, lines).store(known_at_ms)
    added, corrected, removed, unchanged = counts.tolist()
    return Stored(added, corrected, removed, unchanged, tuple(sorted(refused)))


@dataclass(frozen=True, slots=True)
class _Lines:
    """The rows of many series, one line each, ordered by time and series; NaN where `gone`."""

    ids: _Ids
    times: Times
    slots: Times
    values: Floats
    gone: _Flags  # to be removed
    corrects: _Flags

    @classmethod
    def of(cls, rows: Sequence[SeriesRows], ids: Mapping[SeriesKey, int]) -> "_Lines":
        parts: list[tuple[int, int, Times, Floats, bool, bool]] = []
        for each in rows:
            series_id, span_ms = ids[each.key], slot_ms(each.key.interval_ms)
            if len(each.removed):
                none = np.full((len(each.removed), each.key.width), np.nan)
                parts.append((series_id, span_ms, each.removed, none, True, True))
            parts.append((series_id, span_ms, each.times, each.values, False, each.corrects))
        counts = [len(part[2]) for part in parts]
        if not sum(counts):
            empty = np.empty(0, np.int64)
            no_flags = empty.astype(np.bool_)
            no_values = np.empty((0, 1))
            return cls(empty.astype(np.int32), empty, empty, no_values, no_flags, no_flags)
        every = np.repeat(np.array([part[0] for part in parts], np.int32), counts)
        times = np.concatenate([part[2] for part in parts])
        slots = times // np.repeat(np.array([part[1] for part in parts]), counts)
        gone = np.repeat(np.array([part[4] for part in parts]), counts)
        corrects = np.repeat(np.array([part[5] for part in parts]), counts)
        values = np.concatenate([part[3] for part in parts])
        order = np.lexsort((every, times))  # stable: of two the later one counts
        next_ids, next_times = every[order][1:], times[order][1:]
        last = np.append((next_ids != every[order][:-1]) | (next_times != times[order][:-1]), True)
        return cls(every, times, slots, values, gone, corrects)._select(order[last])

    def _select(self, lines: npt.NDArray[np.intp]) -> "_Lines":
        return _Lines(
            self.ids[lines], self.times[lines], self.slots[lines], self.values[lines],
            self.gone[lines], self.corrects[lines],
        )  # fmt: skip

    def places(self, which: _Flags) -> dict[Place, npt.NDArray[np.intp]]:
        """The slots of these lines, and the lines in each, by time."""
        lines = np.flatnonzero(which)
        ordered = lines[np.lexsort((self.times[lines], self.slots[lines], self.ids[lines]))]
        ids, slots = self.ids[ordered], self.slots[ordered]
        if not len(ordered):
            return {}
        begins = np.flatnonzero(np.append(True, (ids[1:] != ids[:-1]) | (slots[1:] != slots[:-1])))
        places = zip(ids[begins].tolist(), slots[begins].tolist(), strict=True)
        return dict(zip(places, np.split(ordered, begins[1:]), strict=True))


class _Storing:
    """Stores the lines of one set of tables."""

    def __init__(
        self,
        connection: Connection,
        tables: RecordTables,
        keys: Mapping[int, SeriesKey],
        lines: _Lines,
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._keys = keys
        self._lines = lines
        n = len(lines.times)
        self._old_values = np.full_like(lines.values, np.nan)
        self._old_known = np.zeros(n, np.int64)
        self._recent = np.zeros(n, np.bool_)
        self._chunked = np.zeros(n, np.bool_)
        self._damaged = np.zeros(n, np.bool_)
        # Of lines, the moments of revisions that never were in force (filling.py).
        self._taken: dict[int, set[int]] = {}
        self._pieces: dict[Place, Piece] = {}
        self._damaged_places: set[Place] = set()

    async def store(self, known_at_ms: int) -> tuple[int, int, int, int]:
        """How many rows were added, corrected, removed, and are unchanged."""
        lines = self._lines
        removed_ms = await self._read(known_at_ms)
        there = self._recent | self._chunked
        same = (lines.values == self._old_values) | (
            np.isnan(lines.values) & np.isnan(self._old_values)
        )
        changed = there & ~lines.gone & lines.corrects & ~same.all(axis=1)
        removed = there & lines.gone
        new = ~there & ~lines.gone & ~self._damaged
        superseded = changed | removed
        # A row that was removed is not known again before it was removed.
        known_at = np.maximum(known_at_ms, removed_ms)
        known_at[superseded] = np.maximum(known_at_ms, self._old_known[superseded] + 1)
        for line, taken in self._taken.items():
            if not lines.gone[line]:
                known_at[line] = next_free(int(known_at[line]), taken)
        if superseded.any():
            await self._write_revisions(superseded, known_at)
        at_once = await self._write_chunks(new, changed, removed, known_at)
        await self._write_recent(new & ~at_once, changed, removed, known_at)
        unchanged = there & ~superseded
        return int(new.sum()), int(changed.sum()), int(removed.sum()), int(unchanged.sum())

    async def _read(self, known_at_ms: int) -> Times:
        """Reads what is there of the lines; returns when each was last removed, if after that."""
        lines, tables = self._lines, self._tables
        rows = await self._connection.fetch(
            _THERE.format(
                values=tables.listed("r"),
                recent=tables.recent,
                chunks=tables.chunks.name,
                revisions=tables.revisions,
            ),
            lines.times.tolist(),
            lines.ids.tolist(),
            lines.slots.tolist(),
            known_at_ms,
        )
        removed_ms = np.zeros(len(lines.times), np.int64)
        spanned = np.zeros(len(lines.times), np.bool_)
        for place, known_to, taken, in_chunk, known_at, *values in rows:
            line = place - 1
            if taken is not None:
                self._taken[line] = set(taken)
            spanned[line] = in_chunk
            removed_ms[line] = known_to or 0
            if known_at is not None:
                self._recent[line] = True
                self._old_known[line] = known_at
                self._old_values[line] = values
        await self._read_chunked(spanned & ~self._recent)
        return removed_ms

    async def _read_chunked(self, spanned: _Flags) -> None:
        """Reads the chunks whose spans hold these lines. Lines in one of a later release are left
        out: it may have them, and no value lies in two places."""
        lines = self._lines
        places = lines.places(spanned)
        await self._read_pieces(list(places))
        for place, which in places.items():
            if place in self._damaged_places:
                self._damaged[which] = True
                continue
            if (piece := self._pieces.get(place)) is None:
                continue  # it was damaged, and is set aside
            there, at = located(lines.times[which], piece.times)
            which, at = which[there], at[there]
            self._chunked[which] = True
            self._old_known[which] = piece.known_at[at]
            self._old_values[which] = piece.values[at]

    async def _read_pieces(self, places: Sequence[Place]) -> None:
        known = self._pieces.keys() | self._damaged_places
        missing = [place for place in places if place not in known]
        pieces, damaged = await read_chunks(self._connection, self._tables, missing, self._keys)
        self._pieces |= pieces
        self._damaged_places |= damaged

    async def _write_revisions(self, superseded: _Flags, known_at: Times) -> None:
        columns = (
            *self._old_values[superseded].T,
            self._lines.times[superseded],
            self._old_known[superseded],
            known_at[superseded],
            self._lines.ids[superseded],
        )
        names = (*self._tables.values, "t", "known_from", "known_to", "series_id")
        await copy_into(self._connection, self._tables.revisions, names, [copy_columns(columns)])

    async def _write_recent(
        self, new: _Flags, changed: _Flags, removed: _Flags, known_at: Times
    ) -> None:
        lines, tables = self._lines, self._tables
        if (outdated := self._recent & (changed | removed)).any():
            await self._connection.execute(
                f"DELETE FROM {tables.recent} AS r"  # noqa: S608 - our own names
                " USING unnest($1::bigint[], $2::int[]) AS x(t, series_id)"
                " WHERE r.t = x.t AND r.series_id = x.series_id",
                lines.times[outdated].tolist(),
                lines.ids[outdated].tolist(),
            )
        if (written := new | (changed & self._recent)).any():
            columns = (
                *lines.values[written].T,
                lines.times[written],
                known_at[written],
                lines.ids[written],
            )
            names = (*tables.values, "t", "known_at", "series_id")
            await copy_into(self._connection, tables.recent, names, [copy_columns(columns)])

    async def _write_chunks(
        self,
        new: _Flags,
        changed: _Flags,
        removed: _Flags,
        known_at: Times,
    ) -> _Flags:
        """Writes the chunks that change, and those that many new rows make; returns which these
        are."""
        lines = self._lines
        at_once = np.zeros(len(new), np.bool_)
        many = {place: each for place, each in lines.places(new).items() if len(each) >= _WHOLE}
        await self._read_pieces(list(many))
        for place, which in many.items():
            at_once[which] = place not in self._damaged_places
        gone = lines.places((changed | removed) & self._chunked)
        come = lines.places(at_once | (changed & self._chunked))
        pieces = {}
        for place in gone.keys() | come.keys():
            parts = []
            if (old := self._pieces.get(place)) is not None:
                times = lines.times[gone.get(place, np.empty(0, np.intp))]
                parts.append(old.select(~np.isin(old.times, times)))
            if place in come:
                found = come[place]
                parts.append(Piece(lines.times[found], lines.values[found], known_at[found]))
            pieces[place] = Piece.joined(parts)
        await replace_chunks(self._connection, self._tables, pieces, self._keys)
        return at_once


def next_free(known_at_ms: int, taken: Collection[int]) -> int:
    """The first moment from then on that is not taken: since which no other version of the same
    instant is known."""
    while known_at_ms in taken:
        known_at_ms += 1
    return known_at_ms


# Row by row by the keys: a plan that reads a whole table is never the better one. A row comes back
# only if there is something of it.
_THERE: Final = """
    SELECT x.place, v.known_to, v.taken, c.series_id IS NOT NULL AS in_chunk, r.known_at, {values}
    FROM unnest($1::bigint[], $2::int[], $3::int[])
        WITH ORDINALITY AS x(t, series_id, slot, place)
    LEFT JOIN LATERAL (
        SELECT * FROM {recent} AS t WHERE t.t = x.t AND t.series_id = x.series_id OFFSET 0
    ) AS r ON true
    LEFT JOIN LATERAL (
        SELECT t.series_id FROM {chunks} AS t WHERE t.series_id = x.series_id AND t.slot = x.slot
            AND x.t BETWEEN t.first_t AND t.last_t OFFSET 0
    ) AS c ON true
    LEFT JOIN LATERAL (
        SELECT max(t.known_to) FILTER (WHERE t.known_to > t.known_from) AS known_to,
            array_agg(t.known_from) FILTER (WHERE t.known_to = t.known_from) AS taken
        FROM {revisions} AS t WHERE t.series_id = x.series_id AND t.t = x.t OFFSET 0
    ) AS v ON true
    WHERE r.series_id IS NOT NULL OR c.series_id IS NOT NULL OR v.known_to > $4
        OR v.taken IS NOT NULL
"""
