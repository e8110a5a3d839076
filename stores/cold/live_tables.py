"""The tables live_trades, live_tickers and live_books, into which live collectors write batches."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import asyncpg

from stores.cold.live_partitions import drop_partitions, make_partitions
from stores.cold.pool import Connection, Pool

# On the server too: of a statement that waits for a lock, ending the connection ends nothing.
STATEMENT_S: Final = 15.0
_MOST_SPLITS: Final = 60  # of a batch with rows that cannot be stored
_NOT_HELD: Final = (asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError)
_ROW_FAULTS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


class TradeRow(NamedTuple):
    """Numbers are plain decimal texts, `time_ms` is UTC."""

    exchange: str
    symbol: str
    time_ms: int
    trade_id: str
    price: str
    size: str
    side: str | None


class TickerRow(NamedTuple):
    """As TradeRow; None: not told. `other`: the text of a JSON object."""

    exchange: str
    symbol: str
    time_ms: int
    other: str
    last_price: str | None = None
    bid_price: str | None = None
    bid_size: str | None = None
    ask_price: str | None = None
    ask_size: str | None = None
    mark_price: str | None = None
    index_price: str | None = None
    funding_rate: str | None = None
    open_interest: str | None = None
    volume_24h: str | None = None
    turnover_24h: str | None = None


class BookRow(NamedTuple):
    """As TradeRow; `bids` and `asks` as PostgreSQL writes arrays: {{price,size},...}."""

    exchange: str
    symbol: str
    time_ms: int
    last_id: int
    bids: str
    asks: str


LiveRow = TradeRow | TickerRow | BookRow


class RefusedRow(NamedTuple):
    """A row that the database cannot hold, and what it says of it."""

    row: LiveRow
    reason: str


class LiveTables:
    """Writes live rows and keeps their tables. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool, *, statement_s: float = STATEMENT_S) -> None:
        self._pool = pool
        self._statement_s = statement_s

    async def write(self, rows: Sequence[LiveRow]) -> list[RefusedRow]:
        """Stores rows of one type, each once: what is there already stays as it is. Returns those
        that cannot be stored; the others are."""
        if not rows:
            return []
        statement = _STATEMENTS[type(rows[0])]

        async def write(connection: Connection) -> list[RefusedRow]:
            batch = _Batch(connection, statement, self._statement_s)
            await batch.write(rows)
            return batch.refused

        return await self._pool.write(write)

    async def keep_partitions(self, keep_days: int) -> list[str]:
        """Makes the partitions of today and the next days, and drops those that ended `keep_days`
        ago (0: none). Returns those that are in use and have to be dropped later."""
        await self._pool.write(make_partitions)
        return await drop_partitions(self._pool, keep_days) if keep_days else []


class _Batch:
    """Writes rows over one connection; a row that cannot be stored is found by halving."""

    def __init__(self, connection: Connection, statement: str, statement_s: float) -> None:
        self._connection = connection
        self._statement = statement
        self._limit = f"SET LOCAL statement_timeout = {round(statement_s * 1000)}"
        self._splits = 0
        self._has_partitions = False
        self.refused: list[RefusedRow] = []

    async def write(self, rows: Sequence[LiveRow]) -> None:
        try:
            await self._insert(rows)
        except asyncpg.CheckViolationError as error:
            if self._has_partitions:
                await self._split(rows, error)
                return
            self._has_partitions = True
            await make_partitions(self._connection, {_day_of(row) for row in rows})
            await self.write(rows)
        except _ROW_FAULTS as error:
            await self._split(rows, error)

    async def _insert(self, rows: Sequence[LiveRow]) -> None:
        columns = list(map(list, zip(*rows, strict=True)))
        async with self._connection.transaction():
            await self._connection.execute(self._limit)
            await self._connection.execute(self._statement, *columns)

    async def _split(self, rows: Sequence[LiveRow], error: asyncpg.PostgresError) -> None:
        self._splits += 1
        if len(rows) == 1 or self._splits > _MOST_SPLITS:
            self.refused += [RefusedRow(row, str(error)) for row in rows]
            return
        for part in _parts(rows, error):
            await self.write(part)


def _parts(rows: Sequence[LiveRow], error: asyncpg.PostgresError) -> Sequence[Sequence[LiveRow]]:
    """Two halves; where the database's encoding is the fault, those that any encoding has apart."""
    if isinstance(error, _NOT_HELD):
        plain = [row for row in rows if _is_ascii(row)]
        if 0 < len(plain) < len(rows):
            return plain, [row for row in rows if not _is_ascii(row)]
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _is_ascii(row: LiveRow) -> bool:
    return all(value.isascii() for value in row if isinstance(value, str))


def _day_of(row: LiveRow) -> date:
    return datetime.fromtimestamp(row.time_ms // 1000, UTC).date()


def _statement(table: str, row: type[LiveRow]) -> str:
    """Inserts columns of rows in the order of the key, so that no two hosts wait for each other."""
    names = row._fields
    stored = ["time" if name == "time_ms" else name for name in names]
    types = ["bigint" if name in _WHOLE else "text" for name in names]
    parameters = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(types, start=1))
    values = ", ".join(_CASTS.get(name, f"{name}::numeric") for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(stored)}) SELECT {values}"  # noqa: S608 - our own names
        f" FROM unnest({parameters}) AS r({', '.join(names)}) ORDER BY {_ORDER[row]}"
        " ON CONFLICT DO NOTHING"
    )


_WHOLE: Final = ("time_ms", "last_id")
_CASTS: Final = {
    **{name: name for name in ("exchange", "symbol", "trade_id", "side", "last_id")},
    "time_ms": "timestamptz 'epoch' + time_ms * interval '1 millisecond'",
    "other": "other::jsonb",
    "bids": "bids::numeric[]",
    "asks": "asks::numeric[]",
}
_ORDER: Final[dict[type[LiveRow], str]] = {
    TradeRow: "exchange, symbol, time_ms, trade_id",
    TickerRow: "exchange, symbol, time_ms",
    BookRow: "exchange, symbol, time_ms",
}
_STATEMENTS: Final = {
    TradeRow: _statement("live_trades", TradeRow),
    TickerRow: _statement("live_tickers", TickerRow),
    BookRow: _statement("live_books", BookRow),
}
