"""The queries of a range of the record: rows in chunks, recent and superseded ones, by series."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from market.rows import Floats, Times
from stores.cold.history.chunk_rows import piece_of
from stores.cold.history.chunk_store import slot_ms
from stores.cold.history.codec import Piece
from stores.cold.history.record_tables import RecordTables, tables_of
from stores.cold.history.row_groups import by_series
from stores.cold.history.series import SeriesKey
from stores.cold.pool import Connection

# Instants times series that are looked up one by one in what came lately; more are a range.
MOST_LOOKUPS: Final = 50_000
_SLOTS: Final = (-(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Range:
    """From inclusive, to exclusive. `with_values`: False for zeros in the place of values."""

    from_ms: int
    to_ms: int
    with_values: bool = True

    def within(self, span: tuple[int, int]) -> "Range":
        return replace(self, from_ms=max(self.from_ms, span[0]), to_ms=min(self.to_ms, span[1]))

    def slots(self, interval_ms: int) -> tuple[int, int]:
        """The first and the last slot."""
        span_ms = slot_ms(interval_ms)
        first, last = self.from_ms // span_ms, (self.to_ms - 1) // span_ms
        return max(first, _SLOTS[0]), min(last, _SLOTS[1])


@dataclass(frozen=True, slots=True)
class Alike:
    """Series of one kind and interval, by their ids, and where they lie."""

    tables: RecordTables
    interval_ms: int
    on_grid: bool
    keys: Mapping[int, SeriesKey]

    @property
    def ids(self) -> list[int]:
        return list(self.keys)


@dataclass(frozen=True, slots=True)
class Superseded:
    """Superseded and removed rows of one series."""

    times: Times
    values: Floats
    known_from: Times
    known_to: Times


def alike(ids: Mapping[SeriesKey, int]) -> Iterator[Alike]:
    """The series by their kinds and intervals."""
    groups: dict[tuple[str, int], dict[int, SeriesKey]] = {}
    for key, series_id in ids.items():
        groups.setdefault((key.kind, key.interval_ms), {})[series_id] = key
    for (kind, interval_ms), keys in groups.items():
        yield Alike(tables_of(next(iter(keys.values()))), interval_ms, kind != "funding", keys)


async def read_chunks(
    connection: Connection, series: Alike, wanted: Range
) -> list[tuple[SeriesKey, Piece]]:
    """The rows of the range that are in chunks. Raises DamagedChunk."""
    chunks = series.tables.chunks
    rows = await connection.fetch(
        f"SELECT {chunks.selected(with_values=wanted.with_values)}"  # noqa: S608 - our own names
        f" FROM {chunks.name} AS c"
        " WHERE c.series_id = ANY($1::int[]) AND c.slot BETWEEN $2 AND $3",
        series.ids,
        *wanted.slots(series.interval_ms),
    )
    found = []
    for row in rows:
        key = series.keys[row["series_id"]]
        piece = piece_of(chunks, key, row, with_values=wanted.with_values)
        first, end = piece.times.searchsorted((wanted.from_ms, wanted.to_ms))
        if first < end:
            found.append((key, piece.select(slice(int(first), int(end)))))
    return found


async def read_recent(
    connection: Connection, series: Alike, wanted: Range
) -> list[tuple[SeriesKey, Piece]]:
    """The rows of the range that are in no chunk yet."""
    if wanted.from_ms >= wanted.to_ms:
        return []
    where, arguments = _recent(series, wanted)
    tables = series.tables
    rows = await connection.fetch(
        f"SELECT r.series_id, r.t, r.known_at, {tables.listed('r')}"  # noqa: S608 - our names
        f" FROM {tables.recent} AS r WHERE {where}",
        *arguments,
    )
    return [
        (series.keys[series_id], Piece(times, values, known_at))
        for series_id, (times, known_at), values in by_series(rows, 2)
    ]


async def read_superseded(
    connection: Connection, series: Alike, wanted: Range, *, after_ms: int
) -> list[tuple[SeriesKey, Superseded]]:
    """The rows of the range that were superseded or removed after that time."""
    tables = series.tables
    rows = await connection.fetch(
        f"SELECT v.series_id, v.t, v.known_from, v.known_to, {tables.listed('v')}"  # noqa: S608
        f" FROM {tables.revisions} AS v"
        " WHERE v.series_id = ANY($1::int[]) AND v.t >= $2 AND v.t < $3 AND v.known_to > $4",
        series.ids, wanted.from_ms, wanted.to_ms, after_ms,
    )  # fmt: skip
    return [
        (series.keys[series_id], Superseded(times, values, known_from, known_to))
        for series_id, (times, known_from, known_to), values in by_series(rows, 3)
    ]


async def span_of_recent(connection: Connection, tables: RecordTables) -> tuple[int, int]:
    """From when to before when there are rows that are in no chunk yet, of any series."""
    [(first_ms, last_ms)] = await connection.fetch(
        f"SELECT min(t), max(t) FROM {tables.recent}"  # noqa: S608 - our own names
    )
    return (0, 0) if first_ms is None else (first_ms, last_ms + 1)


async def next_time(
    connection: Connection, tables: RecordTables, series_id: int, wanted: Range
) -> int | None:
    """The first time of the range of which the series may have a row."""
    chunks, recent, old = tables.chunks.name, tables.recent, tables.revisions
    found: int | None = await connection.fetchval(
        f"""
        SELECT least(
            (SELECT first_t FROM {chunks} WHERE series_id = $1 AND last_t >= $2 AND first_t < $3
             ORDER BY slot LIMIT 1),
            (SELECT min(t) FROM {recent} WHERE t >= $2 AND t < $3),
            (SELECT min(t) FROM {old} WHERE series_id = $1 AND t >= $2 AND t < $3))
        """,  # noqa: S608 - our own names
        series_id, wanted.from_ms, wanted.to_ms,
    )  # fmt: skip
    return found


async def newest_known(
    connection: Connection, series: Alike, wanted: Range, recent: Range
) -> int | None:
    """Since when the newest row of the range, or of the chunks that reach into it, is known."""
    name = series.tables.chunks.name
    found: list[int | None] = [
        await connection.fetchval(
            f"SELECT max(newest_known_at) FROM {name}"  # noqa: S608 - our own names
            " WHERE series_id = ANY($1::int[]) AND slot BETWEEN $2 AND $3",
            series.ids,
            *wanted.slots(series.interval_ms),
        )
    ]
    if recent.from_ms < recent.to_ms:
        where, arguments = _recent(series, recent)
        name = series.tables.recent
        query = f"SELECT max(r.known_at) FROM {name} AS r WHERE {where}"  # noqa: S608 - our names
        found.append(await connection.fetchval(query, *arguments))
    return newest(found)


async def newest_superseded(connection: Connection, series: Alike, wanted: Range) -> int | None:
    """When a row of the range was last superseded or removed."""
    found: int | None = await connection.fetchval(
        f"SELECT max(known_to) FROM {series.tables.revisions}"  # noqa: S608 - our own names
        " WHERE series_id = ANY($1::int[]) AND t >= $2 AND t < $3",
        series.ids, wanted.from_ms, wanted.to_ms,
    )  # fmt: skip
    return found


def newest(times: list[int | None]) -> int | None:
    return max((each for each in times if each is not None), default=None)


def _recent(series: Alike, wanted: Range) -> tuple[str, tuple[object, ...]]:
    """The condition on r, recent rows of these series in the range, and its arguments."""
    first_ms = -(-wanted.from_ms // series.interval_ms) * series.interval_ms
    instants = range(first_ms, wanted.to_ms, series.interval_ms)
    where = "r.series_id = ANY($1::int[]) AND"
    if series.on_grid and len(instants) * len(series.keys) <= MOST_LOOKUPS:
        # The key begins with the time: a range would read all other series, too.
        return f"{where} r.t = ANY($2::bigint[])", (series.ids, list(instants))
    return f"{where} r.t >= $2 AND r.t < $3", (series.ids, wanted.from_ms, wanted.to_ms)
