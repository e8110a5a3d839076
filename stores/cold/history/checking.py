"""The integrity check: chunks that hold what was stored, one place for each value, and holes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import numpy as np

from market.rows import Times
from stores.cold.history.chunk_rows import piece_of
from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.codec import DamagedChunk, Piece, UnknownFormat
from stores.cold.history.record_tables import RecordTables
from stores.cold.history.row_groups import by_series
from stores.cold.history.series import Hole, SeriesKey
from stores.cold.pool import Connection, Session

MOST_SERIES: Final = 200  # of one snapshot
_FETCHED: Final = 100  # chunks at a time


@dataclass(slots=True)
class Findings:
    """What has been found so far."""

    chunks: int = 0
    rows: int = 0
    faults: list[str] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    damaged: list[tuple[SeriesKey, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Series:
    """The times of one series, and since when each value is known."""

    key: SeriesKey
    chunked: list[tuple[Times, Times]] = field(default_factory=list)
    recent: tuple[Times, Times] | None = None


async def check_series(
    session: Session, tables: RecordTables, keys: Mapping[int, SeriesKey], findings: Findings
) -> None:
    """Checks these series and adds to `findings`. Raises DatabaseUnavailable."""
    found = {series_id: _Series(key) for series_id, key in keys.items()}
    await _check_chunks(session, tables, found, findings)

    async def read_recent(connection: Connection) -> Sequence[asyncpg.Record]:
        return await connection.fetch(
            f"SELECT series_id, t, known_at FROM {tables.recent}"  # noqa: S608 - our own names
            " WHERE series_id = ANY($1::int[])",
            list(keys),
        )

    async def read_old(connection: Connection) -> Sequence[asyncpg.Record]:
        return await connection.fetch(
            f"SELECT series_id, t, known_from, known_to FROM {tables.revisions}"  # noqa: S608
            " WHERE series_id = ANY($1::int[])",
            list(keys),
        )

    for series_id, (times, known_at), _ in by_series(await session.read(read_recent), 2):
        found[series_id].recent = times, known_at
    old = {
        series_id: (times, known_from, known_to)
        for series_id, (times, known_from, known_to), _ in by_series(
            await session.read(read_old), 3
        )
    }
    for series_id, series in found.items():
        _check_series(series, old.get(series_id), findings)


async def _check_chunks(
    session: Session, tables: RecordTables, found: Mapping[int, _Series], findings: Findings
) -> None:
    async def begin(connection: Connection) -> "asyncpg.cursor.Cursor[asyncpg.Record]":
        return await connection.cursor(
            f"SELECT {tables.chunks.selected()} FROM {tables.chunks.name} AS c"  # noqa: S608
            " WHERE c.series_id = ANY($1::int[]) ORDER BY c.series_id, c.slot",
            list(found),
        )

    cursor = await session.read(begin)

    async def fetch(_: Connection) -> list[asyncpg.Record]:
        return await cursor.fetch(_FETCHED)

    while rows := await session.read(fetch):
        for row in rows:
            findings.chunks += 1
            series = found[row["series_id"]]
            try:
                piece = piece_of(tables.chunks, series.key, row)
            except DamagedChunk as error:
                findings.faults.append(str(error))
                if not isinstance(error, UnknownFormat):
                    findings.damaged.append((series.key, row["slot"]))
            else:
                findings.faults += _faults_of_chunk(series, row, piece)


def _faults_of_chunk(series: _Series, row: asyncpg.Record, piece: Piece) -> Iterator[str]:
    key, slot = series.key, row["slot"]
    times = piece.times
    span_ms = slot_ms(key.interval_ms)
    whole = (
        bool((times[1:] > times[:-1]).all())
        and bool((times // span_ms == slot).all())
        and (key.kind == "funding" or not bool((times % key.interval_ms).any()))
        and (row["last_t"], row["newest_known_at"]) == (times[-1], piece.known_at.max())
    )
    series.chunked.append((times, piece.known_at))
    if not whole:
        yield f"chunk {slot} of {key} tells other times than its rows have"


def _check_series(
    series: _Series, old: tuple[Times, Times, Times] | None, findings: Findings
) -> None:
    key = series.key
    empty = np.empty(0, np.int64), np.empty(0, np.int64)
    parts = [empty, *series.chunked, *([series.recent] if series.recent is not None else [])]
    times, known_at = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(times, kind="stable")
    times, known_at = times[order], known_at[order]
    findings.rows += len(times)
    twice = times[1:][times[1:] == times[:-1]]
    findings.faults += [f"{key}: {t} is stored twice" for t in twice.tolist()]
    if old is not None:
        findings.faults += _faults_of_old(key, times, known_at, *old)
    if key.kind == "candles":
        findings.holes += _holes(key, times)


def _faults_of_old(
    key: SeriesKey, times: Times, known_at: Times, t: Times, known_from: Times, known_to: Times
) -> Iterator[str]:
    """Superseded values whose times of knowledge overlap with the next one's. Those that never were
    in force, known from and to one moment, overlap with none."""
    in_force = known_from != known_to
    t, known_from, known_to = t[in_force], known_from[in_force], known_to[in_force]
    every = np.concatenate([t, times])
    begins = np.concatenate([known_from, known_at])
    ends = np.concatenate([known_to, np.full(len(times), np.iinfo(np.int64).max)])
    order = np.lexsort((begins, every))
    every, begins, ends = every[order], begins[order], ends[order]
    overlap = (every[1:] == every[:-1]) & (begins[1:] < ends[:-1])
    for at in every[1:][overlap].tolist():
        yield f"{key}: two values of {at} were known at one time"
    for at in every[begins >= ends].tolist():
        yield f"{key}: a value of {at} was superseded before it was known"


def _holes(key: SeriesKey, times: Times) -> Iterator[Hole]:
    at = np.flatnonzero(np.diff(times) > key.interval_ms)
    for before, after in zip(times[at].tolist(), times[at + 1].tolist(), strict=True):
        yield Hole(key, before + key.interval_ms, after)
