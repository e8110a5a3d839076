"""The rows of the record: what storing, compacting and reading it costs, in time, bytes and WAL."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from statistics import median
from typing import Any, Final

import asyncpg
import numpy as np

from benchmarks import history_disk, history_filling, history_reading
from benchmarks.benchmark_run import BenchmarkRun, open_stores
from benchmarks.bodies import recorded_folder
from benchmarks.documents import symbol
from benchmarks.history_disk import SIZE
from benchmarks.recorded_series import read_series
from benchmarks.report import LeftOut, Row, Sample, Target
from database import Database, SeriesKey, SeriesRows
from market.rows import Floats, Times
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from stores.cold.history.arrays import copy_columns, copy_text
from stores.cold.history.chunk_store import replace_chunks, slot_ms
from stores.cold.history.codec import Piece
from stores.cold.history.record_tables import tables_of

PART: Final = "history"
_DAY: Final = 1_772_409_600_000  # 2026-03-02
_NINE: Final = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.H8)
_LAG_MS: Final = 4_000
_BEFORE: Final = 300  # rows of each series before the day: half a chunk
_CANDLES: Final = 499
_YEAR: Final = 365 * 24
_SIZE: Final = "SELECT pg_total_relation_size($1::text::regclass)"
_BARE: Final = """
    DROP TABLE IF EXISTS bare_rows;
    CREATE TABLE bare_rows (open float8, high float8, low float8, close float8, volume float8,
        turnover float8, t bigint, known_at bigint, series_id int, PRIMARY KEY (t, series_id))
"""
_PAGES: Final = """
    SELECT coalesce(sum(coalesce(heap_blks_hit, 0) + coalesce(heap_blks_read, 0)
        + coalesce(idx_blks_hit, 0) + coalesce(idx_blks_read, 0)
        + coalesce(toast_blks_hit, 0) + coalesce(toast_blks_read, 0)
        + coalesce(tidx_blks_hit, 0) + coalesce(tidx_blks_read, 0)), 0)::bigint
    FROM pg_statio_user_tables WHERE relname LIKE 'history%'
"""


async def measure(bench: BenchmarkRun) -> None:
    """Measures the rows of the record and adds them to `bench`."""
    async with _record(bench, "sizes") as record:
        await _sizes(bench, record)
        await history_filling.measure(bench, PART, record.database, record.connection)
    async with _record(bench, "day") as record:
        day = _Day(bench, record)
        await day.prepare()
        await day.pass_by()
        await day.read()
    async with _record(bench, "disk") as record:
        await history_disk.measure(bench, PART, record.database, lambda: record.value(SIZE))
    await history_reading.measure(bench, PART)


@dataclass(frozen=True, slots=True)
class _Record:
    """An empty database with the tables of the record, and a connection beside it."""

    url: str
    database: Database
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def wal(self) -> int:
        """Bytes of write-ahead log since the database was made."""
        found: int = await self.connection.fetchval(
            "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
        )
        return found

    async def value(self, query: str, *arguments: object) -> Any:
        return await self.connection.fetchval(query, *arguments)


@contextlib.asynccontextmanager
async def _record(bench: BenchmarkRun, name: str) -> AsyncIterator[_Record]:
    async with open_stores(bench.folder / f"history-{name}") as stores:
        database = Database(stores.database_url)
        connection = await asyncpg.connect(stores.database_url)
        try:
            await database.open()
            yield _Record(stores.database_url, database, connection)
        finally:
            await connection.close()
            await database.aclose()


# --- bytes


async def _sizes(bench: BenchmarkRun, record: _Record) -> None:
    folder = recorded_folder()
    what = "bytes of a candle in chunks, recorded series"
    if folder is None:
        bench.left_out.append(LeftOut(PART, what, "install recorded data and set RECORDED_DATA"))
        return
    bench.say("history: bytes of recorded candles")
    series = read_series(folder)
    generator = np.random.default_rng(1)
    keys = {
        number: SeriesKey("binance", each.name, "candles", each.interval_ms)
        for number, each in enumerate(series)
    }
    pieces = {
        number: Piece(each.times, each.values, _known(each.times, each.interval_ms, generator))
        for number, each in enumerate(series)
    }
    count = sum(map(len, pieces.values()))
    await _write_chunks(record, keys, pieces)
    own = await record.value(_SIZE, "history_chunks")
    await _copy_rows(record, pieces)
    rows = await record.value(_SIZE, "bare_rows")
    note = (
        f"{count} candles of {len(series)} series, the parts of slots at their ends included; with "
        "times of knowledge that differ from candle to candle, keys and all overhead"
    )
    bench.add(Row(PART, what, "", "B", [Sample(own / count)], Target("<=", 30, "B"), note))
    sample = Sample(own / count, rows / count)
    bench.add(Row(PART, what, "plain rows with the key (t, series_id)", "B", [sample]))


def _known(times: Times, interval_ms: int, generator: np.random.Generator) -> Times:
    """As documents make it: some seconds after the close, never the same."""
    lags = generator.integers(_LAG_MS // 2, 2 * _LAG_MS, len(times))
    return np.asarray(times + interval_ms + lags, np.int64)


async def _write_chunks(
    record: _Record, keys: Mapping[int, SeriesKey], pieces: Mapping[int, Piece]
) -> None:
    """Writes the pieces, by series, slot by slot, as a compaction does."""
    places = {}
    for number, piece in pieces.items():
        slots = piece.times // slot_ms(keys[number].interval_ms)
        for slot in np.unique(slots).tolist():
            places[number, slot] = piece.select(slots == slot)
    tables = tables_of(next(iter(keys.values())))
    connection: Any = record.connection
    async with connection.transaction():
        await replace_chunks(connection, tables, places, keys)


async def _copy_rows(record: _Record, pieces: Mapping[int, Piece]) -> float:
    """Copies the rows into a bare table; how many seconds that took."""
    await record.connection.execute(_BARE)
    ids = [np.full(len(piece), number, np.int32) for number, piece in pieces.items()]
    every = [*pieces.values()]
    columns = (
        *np.concatenate([piece.values for piece in every]).T,
        np.concatenate([piece.times for piece in every]),
        np.concatenate([piece.known_at for piece in every]),
        np.concatenate(ids),
    )
    began_s = time.perf_counter()
    content = BytesIO(copy_text([copy_columns(columns)]))
    await record.connection.copy_to_table("bare_rows", source=content, format="binary")
    return time.perf_counter() - began_s


# --- a day


@dataclass(slots=True)
class _Spent:
    """Seconds and bytes of write-ahead log."""

    seconds: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    wal: int = 0


class _Day:
    """A day of nine timeframes, open interest and settlements, stored as publishes bring it."""

    def __init__(self, bench: BenchmarkRun, record: _Record) -> None:
        self._bench = bench
        self._record = record
        self._history = record.database.history
        count = bench.sizes.history_markets
        self._generator = np.random.default_rng(2)
        self._prices = np.round(10 ** self._generator.uniform(0, 4, count), 2)
        self._names = [symbol(number) for number in range(count)]
        self._what = f"{count} markets"
        self._snapshots: list[Floats] = []

    def _candles(self, times: Times, market: int) -> Floats:
        """A walk of prices with the digits of real ones."""
        n, chance = len(times), self._generator
        price = self._prices[market]
        digits = 5 - len(str(int(price)))
        close = price * np.exp(np.cumsum(chance.normal(0, 0.002, n)))
        opened = np.append(price, close[:-1])
        high = np.maximum(opened, close) * (1 + np.abs(chance.normal(0, 0.001, n)))
        low = np.minimum(opened, close) * (1 - np.abs(chance.normal(0, 0.001, n)))
        volume = np.round(chance.lognormal(9, 1.5, n), 1)
        prices = np.round(np.stack([opened, high, low, close], 1), digits)
        return np.column_stack([prices, volume, np.round(volume * close, 4)])

    def _interest(self, n: int, market: int) -> Floats:
        walk = np.exp(np.cumsum(self._generator.normal(0, 0.002, n)))
        return np.round(1e6 * (1 + market % 7) * walk, 1)[:, None]

    async def prepare(self) -> None:
        """Half a chunk of every series, from before the day, and a year of 1h of one market."""
        self._bench.say("history: a day: what was before")
        for timeframe in _NINE:
            before = _before(timeframe.interval_ms, _BEFORE)
            times = {SeriesKey.candles("binance", name, timeframe): before for name in self._names}
            if timeframe is Timeframe.H1:
                times[next(iter(times))] = _before(HOUR_MS, _YEAR)
            await self._fill(times)
        before = _before(Timeframe.M5.interval_ms, _BEFORE)
        await self._fill({SeriesKey.open_interest("binance", name): before for name in self._names})
        before = _before(8 * HOUR_MS, _BEFORE)
        await self._fill({SeriesKey.funding("binance", name): before for name in self._names})
        await self._record.connection.execute("VACUUM ANALYZE")
        await self._record.connection.execute("CHECKPOINT")

    async def _fill(self, times: Mapping[SeriesKey, Times]) -> None:
        """Writes series as the compactions of the days before have left them."""
        none = np.empty(0, np.int64)
        empty = [SeriesRows(key, none, np.empty((0, key.width))) for key in times]
        await self._history.store(empty, _DAY)
        rows = await self._record.connection.fetch(
            "SELECT series_id, exchange, symbol, kind, interval_ms FROM history_series"
        )
        ids = {SeriesKey(*row[1:]): row[0] for row in rows}
        pieces = {}
        for market, (key, each) in enumerate(times.items()):
            candles = key.kind == "candles"
            values = self._candles(each, market) if candles else self._interest(len(each), market)
            pieces[ids[key]] = Piece(each, values, _known(each, key.interval_ms, self._generator))
        await _write_chunks(self._record, {ids[key]: key for key in times}, pieces)

    async def pass_by(self) -> None:
        """Stores all publishes of the day, each 5 minutes after a checkpoint, and compacts."""
        bench, record = self._bench, self._record
        bench.say("history: a day: its publishes")
        spent, first = _Spent(), await record.wal()
        bare = []
        closes = range(_DAY, _DAY + DAY_MS, Timeframe.M5.interval_ms)
        for close_ms in closes[: bench.sizes.closes_of_day]:
            self._snapshots = [self._interest(1, market) for market in range(len(self._names))]
            for timeframe in _NINE:
                if timeframe.floor(close_ms) == close_ms:
                    rows = self._publish(timeframe, close_ms)
                    known_at_ms = close_ms + _LAG_MS + int(self._generator.integers(0, 4000))
                    began_s = time.perf_counter()
                    stored = await self._history.store(rows, known_at_ms)
                    if stored.added >= len(self._names):
                        spent.seconds.append(time.perf_counter() - began_s)
                        spent.rows.append(stored.added)
            await record.connection.execute("CHECKPOINT")
        stored_wal = await record.wal() - first
        for _ in range(bench.sizes.runs):
            pieces = {
                number: Piece(each.times, each.values, each.times)
                for number, each in enumerate(self._publish(Timeframe.M5, _DAY)[: len(self._names)])
            }
            bare.append(1000 * await _copy_rows(record, pieces))
        self._add_publishes(spent, bare)
        first += await record.wal() - first - stored_wal
        began_s = time.perf_counter()
        compacted = await self._history.compact(_DAY + DAY_MS)
        took_s = time.perf_counter() - began_s
        for table in ("history_recent", "history_recent_points"):
            await record.connection.execute(f"VACUUM {table}")
        wal = await record.wal() - first
        count = sum(spent.rows)
        what = f"write-ahead log of a day, nine timeframes, {self._what}"
        note = (
            f"{count} candles, snapshots of open interest and settlements as publishes bring them, "
            f"with a checkpoint every 5 minutes: {stored_wal / 1e6:.0f} MB; their compaction, "
            f"and the vacuum after it: {(wal - stored_wal) / 1e6:.0f} MB"
        )
        bench.add(Row(PART, what, "", "MB", [Sample(wal / 1e6)], Target("<=", 250, "MB"), note))
        note = f"{compacted.rows} of {count} rows into {compacted.chunks} chunks, half of them full"
        what = f"compaction of a day, {self._what}"
        bench.add(Row(PART, what, "", "s", [Sample(took_s)], None, note))

    def _publish(self, timeframe: Timeframe, close_ms: int) -> list[SeriesRows]:
        """What the document of a close brings: a candle of each market, the open interest of its
        open time and of now, and settlements."""
        t = np.array([close_ms - timeframe.interval_ms])
        now = np.array([close_ms])
        rows = [
            SeriesRows(SeriesKey.candles("binance", name, timeframe), t, self._candles(t, market))
            for market, name in enumerate(self._names)
        ]
        rows += [
            SeriesRows(SeriesKey.open_interest("binance", name), now, snapshot)
            for name, snapshot in zip(self._names, self._snapshots, strict=True)
        ]
        if timeframe is Timeframe.M5 and close_ms % (8 * HOUR_MS) == 0:
            rows += [
                SeriesRows(SeriesKey.funding("binance", name), now, np.array([[0.0001]]))
                for name in self._names
            ]
        return rows

    def _add_publishes(self, spent: _Spent, bare: Sequence[float]) -> None:
        many = [
            1000 * each
            for each, rows in zip(spent.seconds, spent.rows, strict=True)
            if len(self._names) <= rows <= 2 * len(self._names)
        ]
        what = f"storing a publish of {self._what}: a candle and a snapshot of each, at most"
        note = f"median of {len(many)} publishes; the slowest took {max(many):.0f} ms"
        sample = [Sample(median(many))]
        self._bench.add(Row(PART, what, "", "ms", sample, Target("<=", 50, "ms"), note))
        sample = [Sample(median(many), other) for other in bare]
        against = "COPY of as many candles into a bare table"
        self._bench.add(Row(PART, what, against, "ms", sample))

    async def read(self) -> None:
        """A year of one market, and the last candles of all, each over a new connection."""
        bench = self._bench
        bench.say("history: reading")
        await self._record.connection.execute("VACUUM ANALYZE")
        year = [SeriesKey.candles("binance", self._names[0], Timeframe.H1)]
        samples, pages = [], []
        for _ in range(bench.sizes.runs):
            before = await self._pages()
            took_s, count = await self._read(year, _DAY - 365 * DAY_MS, _DAY + DAY_MS)
            samples.append(Sample(1000 * took_s))
            pages.append(Sample(await self._pages() - before))
        what = f"a year of 1h of one market ({count} candles), to columns"
        note = "the first query of a new connection, without the opening of it"
        bench.add(Row(PART, what, "", "ms", samples, Target("<=", 15, "ms"), note))
        bench.add(Row(PART, f"{what}: pages", "", "", pages, Target("<=", 100)))
        keys = [SeriesKey.candles("binance", name, Timeframe.H1) for name in self._names]
        samples = []
        for _ in range(bench.sizes.runs):
            end_ms = _DAY + DAY_MS
            took_s, count = await self._read(keys, end_ms - _CANDLES * HOUR_MS, end_ms)
            samples.append(Sample(took_s))
        what = f"the last {_CANDLES} hours of {self._what} ({count} candles), to columns"
        bench.add(Row(PART, what, "", "s", samples, Target("<=", 0.6, "s")))

    async def _read(self, keys: list[SeriesKey], from_ms: int, to_ms: int) -> tuple[float, int]:
        database = Database(self._record.url)
        try:
            async with database.history.snapshot() as snapshot:
                began_s = time.perf_counter()
                found = await snapshot.versions(keys, from_ms, to_ms)
                took_s = time.perf_counter() - began_s
            return took_s, sum(len(each.times) for each in found.values())
        finally:
            await database.aclose()

    async def _pages(self) -> int:
        """Pages that were read of the record's tables; sessions tell of them when they end."""
        found: int = await self._record.value(_PAGES)
        return found


def _before(interval_ms: int, rows: int) -> Times:
    """The times of so many rows before those that the day brings."""
    end_ms = _DAY // interval_ms * interval_ms - interval_ms
    return np.asarray(range(end_ms - rows * interval_ms, end_ms, interval_ms), np.int64)
