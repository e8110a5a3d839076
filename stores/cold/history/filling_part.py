"""FillingPart: some slots of one series, read, compared with what a source says, and written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from market.rows import Floats, Times, located
from stores.cold.history.arrays import copy_columns
from stores.cold.history.chunk_store import Place, read_chunks, replace_chunks, slot_ms
from stores.cold.history.codec import Piece
from stores.cold.history.fill_rows import ARCHIVE, EXPORT, REST, Filled, Source
from stores.cold.history.record_tables import RecordTables, copy_into
from stores.cold.history.row_groups import by_series
from stores.cold.history.series import SeriesKey
from stores.cold.history.storing import next_free
from stores.cold.pool import Connection

# So many new rows make a chunk of a slot that is not over; fewer wait for the compaction.
_WHOLE: Final = 96
# Instants that are looked up one by one among recent rows; more are a range.
_MOST_LOOKUPS: Final = 2_000
_Flags = npt.NDArray[np.bool_]


class Batch(NamedTuple):
    """An archive's: the values of the range that are known since then came from it."""

    from_ms: int
    to_ms: int
    known_at_ms: int


class PartRows(NamedTuple):
    """Rows of a source, as those of FillRows."""

    times: Times
    values: Floats
    known_at: Times | None


@dataclass(frozen=True, slots=True)
class _Superseded:
    """The revisions of one instant: since when they were known, when the last of those that were
    in force ended, and those that never were, as bytes of their values."""

    known_from: set[int]
    ended_ms: int
    never: set[bytes]


class FillingPart:
    """`fill` does all; after it `damaged` has the slots of damaged chunks, ascending."""

    def __init__(
        self,
        connection: Connection,
        tables: RecordTables,
        key: SeriesKey,
        series_id: int,
        rows: PartRows,
        source: Source,
        now_ms: int,
        batches: Sequence[Batch],
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._keys = {series_id: key}
        self._series_id = series_id
        self._source = source
        self._now_ms = now_ms
        self._batches = batches
        self._span_ms = slot_ms(key.interval_ms)
        self._times, self._values = rows.times, rows.values
        n = len(rows.times)
        self._slots = rows.times // self._span_ms
        self._known_at = np.full(n, now_ms) if rows.known_at is None else rows.known_at.copy()
        self._old_values = np.full_like(rows.values, np.nan)
        self._old_known = np.zeros(n, np.int64)
        self._recent = np.zeros(n, np.bool_)
        self._chunked = np.zeros(n, np.bool_)
        self._written = np.zeros(n, np.bool_)
        self._pieces: dict[Place, Piece] = {}
        self.damaged: list[Place] = []

    async def fill(self) -> Filled:
        is_damaged = await self._read()
        there = self._recent | self._chunked
        differs = there & ~_same(self._values, self._old_values) & ~is_damaged
        new = ~there & ~is_damaged
        corrected = differs & self._may_correct(differs)
        kept = differs & ~corrected
        self._written = new | corrected
        self._known_at[corrected] = np.maximum(self._now_ms, self._old_known[corrected] + 1)
        others = await self._apply_revisions(new, kept)
        await self._write_revisions(corrected, others)
        await self._write_rows(new, corrected)
        return Filled(
            added=int(new.sum()),
            corrected=int(corrected.sum()),
            unchanged=int((there & ~differs & ~is_damaged).sum()),
            kept=int(kept.sum()),
            damaged=int(is_damaged.sum()),
        )

    def written(self) -> dict[int, tuple[int, int]]:
        """Since when what was written is known, with the first and last time of it."""
        times, known_at = self._times[self._written], self._known_at[self._written]
        if not len(times):
            return {}
        if bool((known_at == known_at[0]).all()):
            return {int(known_at[0]): (int(times[0]), int(times[-1]))}
        found: dict[int, tuple[int, int]] = {}
        for t, known in zip(times.tolist(), known_at.tolist(), strict=True):
            found[known] = found.get(known, (t, t))[0], t
        return found

    def _may_correct(self, differs: _Flags) -> _Flags:
        """Where the source's value takes the place of ours."""
        if self._source == REST:
            return differs
        found = np.zeros(len(differs), np.bool_)
        if self._source == ARCHIVE and bool(differs.any()):
            for batch in self._batches:
                begin, end = self._times.searchsorted((batch.from_ms, batch.to_ms))
                found[begin:end] |= self._old_known[begin:end] == batch.known_at_ms
        return found

    async def _read(self) -> _Flags:
        """Reads what is there of the rows; returns which of them fall into damaged chunks."""
        await self._read_recent()
        is_damaged = np.zeros(len(self._times), np.bool_)
        places = self._places()
        self._pieces, damaged = await read_chunks(
            self._connection, self._tables, list(places), self._keys
        )
        self.damaged = sorted(damaged)
        for place, lines_of in places.items():
            if place in damaged:
                is_damaged[lines_of] = True
            elif (piece := self._pieces.get(place)) is not None:
                there, at = located(self._times[lines_of], piece.times)
                lines, at = lines_of.start + np.flatnonzero(there), at[there]
                self._chunked[lines] = True
                self._old_known[lines] = piece.known_at[at]
                self._old_values[lines] = piece.values[at]
        return is_damaged

    def _places(self) -> dict[Place, slice]:
        """The slots of the rows, ascending, and the lines of each."""
        bounds = np.flatnonzero(np.diff(self._slots)) + 1
        lines = pairwise([0, *bounds.tolist(), len(self._slots)])
        return {
            (self._series_id, int(self._slots[begin])): slice(begin, end) for begin, end in lines
        }

    async def _read_recent(self) -> None:
        tables, times = self._tables, self._times
        head = (
            f"SELECT r.series_id, r.t, r.known_at, {tables.listed('r')}"  # noqa: S608 - our names
            f" FROM {tables.recent} AS r WHERE r.series_id = $1 AND"
        )
        if len(times) <= _MOST_LOOKUPS:
            # The key begins with the time: a range would read all other series, too.
            found = await self._connection.fetch(
                f"{head} r.t = ANY($2::bigint[])", self._series_id, times.tolist()
            )
        else:
            found = await self._connection.fetch(
                f"{head} r.t BETWEEN $2 AND $3", self._series_id, int(times[0]), int(times[-1])
            )
        for _, (recent, known_at), values in by_series(found, 2):
            there, at = located(times, recent)
            self._recent = there
            self._old_known[there] = known_at[at[there]]
            self._old_values[there] = values[at[there]]

    async def _apply_revisions(self, new: _Flags, kept: _Flags) -> dict[int, int]:
        """Moves times of knowledge past what revisions say. Returns which lines become revisions
        that never were in force, and of which moment."""
        others: dict[int, int] = {}
        old = await self._read_revisions() if bool((new | self._written | kept).any()) else {}
        none = _Superseded(set(), 0, set())
        for line in self._lines_of(old, kept):
            known = old.get(int(self._times[line]), none)
            if kept[line]:
                if (moment_ms := self._moment_of_other(line, known)) is not None:
                    others[line] = moment_ms
            elif self._written[line]:
                # A row that was removed is not known again before it was removed.
                known_at = int(self._known_at[line])
                if new[line]:
                    known_at = max(known_at, known.ended_ms)
                self._known_at[line] = next_free(known_at, known.known_from)
        return others

    def _lines_of(self, old: Mapping[int, _Superseded], kept: _Flags) -> Iterator[int]:
        there, _ = located(self._times, np.array(sorted(old), np.int64))
        yield from np.flatnonzero(there | kept).tolist()

    def _moment_of_other(self, line: int, known: _Superseded) -> int | None:
        """When the source's value is said to have been known; None if that is listed already."""
        if self._source == EXPORT:
            moment_ms, ours_ms = int(self._known_at[line]), int(self._old_known[line])
            return None if moment_ms in known.known_from or moment_ms == ours_ms else moment_ms
        if self._values[line].tobytes() in known.never:
            return None
        return next_free(self._now_ms, known.known_from | {int(self._old_known[line])})

    async def _read_revisions(self) -> dict[int, _Superseded]:
        tables = self._tables
        rows = await self._connection.fetch(
            f"SELECT v.series_id, v.t, v.known_from, v.known_to, {tables.listed('v')}"  # noqa: S608
            f" FROM {tables.revisions} AS v WHERE v.series_id = $1 AND v.t BETWEEN $2 AND $3",
            self._series_id, int(self._times[0]), int(self._times[-1]),
        )  # fmt: skip
        found: dict[int, _Superseded] = {}
        for _, (times, known_from, known_to), values in by_series(rows, 3):
            lines = zip(times.tolist(), known_from.tolist(), known_to.tolist(), values, strict=True)
            for t, begin_ms, end_ms, each in lines:
                known = found.get(t) or _Superseded(set(), 0, set())
                if begin_ms == end_ms:
                    known.never.add(each.tobytes())
                else:
                    known = _Superseded(known.known_from, max(known.ended_ms, end_ms), known.never)
                known.known_from.add(begin_ms)
                found[t] = known
        return found

    async def _write_revisions(self, corrected: _Flags, others: Mapping[int, int]) -> None:
        lines = np.array(list(others), np.intp)
        moments = np.array(list(others.values()), np.int64)
        if not len(lines) and not bool(corrected.any()):
            return
        values = np.concatenate([self._old_values[corrected], self._values[lines]])
        columns = (
            *values.T,
            np.concatenate([self._times[corrected], self._times[lines]]),
            np.concatenate([self._old_known[corrected], moments]),
            np.concatenate([self._known_at[corrected], moments]),
            np.full(len(values), self._series_id, np.int32),
        )
        names = (*self._tables.values, "t", "known_from", "known_to", "series_id")
        await copy_into(self._connection, self._tables.revisions, names, [copy_columns(columns)])

    async def _write_rows(self, new: _Flags, corrected: _Flags) -> None:
        """Into chunks what is there, and what comes of slots that are over, have a chunk already,
        or are filled for a good part; the rest into what came lately."""
        to_chunk = corrected & self._chunked
        pieces: dict[Place, Piece] = {}
        for place, lines in self._places().items():
            come = int(new[lines].sum())
            is_over = (place[1] + 1) * self._span_ms <= self._now_ms
            if come and (is_over or come >= _WHOLE or place in self._pieces):
                to_chunk[lines] |= new[lines]
            chosen = lines.start + np.flatnonzero(to_chunk[lines])
            if len(chosen):
                pieces[place] = self._joined(place, chosen)
        await replace_chunks(self._connection, self._tables, pieces, self._keys, there=self._pieces)
        await self._write_recent(new & ~to_chunk, corrected & self._recent)

    def _joined(self, place: Place, lines: npt.NDArray[np.intp]) -> Piece:
        come = Piece(self._times[lines], self._values[lines], self._known_at[lines])
        if (old := self._pieces.get(place)) is None:
            return come
        outdated, _ = located(old.times, come.times)
        return Piece.joined([old.select(~outdated), come])

    async def _write_recent(self, new: _Flags, corrected: _Flags) -> None:
        tables = self._tables
        if bool(corrected.any()):
            await self._connection.execute(
                f"DELETE FROM {tables.recent} AS r"  # noqa: S608 - our own names
                " WHERE r.series_id = $1 AND r.t = ANY($2::bigint[])",
                *(self._series_id, self._times[corrected].tolist()),
            )
        if bool((written := new | corrected).any()):
            columns = (
                *self._values[written].T,
                self._times[written],
                self._known_at[written],
                np.full(int(written.sum()), self._series_id, np.int32),
            )
            names = (*tables.values, "t", "known_at", "series_id")
            await copy_into(self._connection, tables.recent, names, [copy_columns(columns)])


def _same(values: Floats, old: Floats) -> _Flags:
    same: _Flags = ((values == old) | (np.isnan(values) & np.isnan(old))).all(axis=1)
    return same
