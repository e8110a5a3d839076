"""The cold store (PostgreSQL): markets, their metadata, when they were discovered.

It alone knows SQL, and decides nothing about markets. Connections are made when first needed and
again when they were lost, so a database that is away costs errors until it is back, no more.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog

from market.markets import Coin, Exchange, ListedMarket, Market, Meta
from market.timeframes import Timeframe
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import Connection, DatabasePool, DatabaseUnavailable

__all__ = [
    "CoinMetadata",
    "CoinRecord",
    "Database",
    "DatabaseUnavailable",
    "ListedMarket",
    "SavedMarkets",
]

_log = structlog.get_logger(__name__)

# Numbers with a column of their own, in the order in which they are handed out.
_NUMBERS: Final = ("hurst", "entropy", "realised_volatility")
_MARKET: Final = "exchange, symbol, base, quote, launched_ms"


@dataclass(frozen=True, slots=True)
class SavedMarkets:
    """What a listing changed: markets never seen before, seen again, and no longer listed."""

    added: int
    returned: int
    left: int


@dataclass(frozen=True, slots=True)
class CoinMetadata:
    values: Meta
    computed_at_ms: int


@dataclass(frozen=True, slots=True)
class CoinRecord:
    """All that is known about a market. `metadata` holds the timeframes that have some."""

    market: Market
    active: bool
    enabled: bool
    turnover_24h: float | None
    first_seen_ms: int
    last_seen_ms: int
    metadata: Mapping[Timeframe, CoinMetadata]


class Database:
    """All methods raise DatabaseUnavailable. `aclose` when done.

    `read_s` and `write_s`: how long a call may take once the connection stands.
    """

    def __init__(
        self, dsn: str, *, migrations: Path = MIGRATIONS, read_s: float = 5.0, write_s: float = 20.0
    ) -> None:
        self._read_s = read_s
        self._write_s = write_s
        self._pool = DatabasePool(dsn, migrations)

    async def open(self) -> None:
        """Connects and applies pending migrations; every other method does so when needed."""
        await self._pool.open()

    async def aclose(self) -> None:
        await self._pool.aclose()

    # Markets.

    async def get_coins_from_db(
        self,
        timeframe: Timeframe,
        *,
        exchanges: Sequence[Exchange],
        quote: str,
        markets_limit: int = 0,
    ) -> list[Coin]:
        """Active and enabled markets by (exchange, symbol), with the metadata of `timeframe`.

        With `markets_limit`, of each exchange the ones with most turnover; those whose turnover
        is not known come last, ties go by symbol.
        """

        async def read(connection: Connection) -> list[Coin]:
            rows = await connection.fetch(
                f"""
                SELECT c.*, m.hurst, m.entropy, m.realised_volatility, m.other
                FROM ({_CHOSEN}) AS c
                LEFT JOIN coin_metadata AS m
                    ON m.exchange = c.exchange AND m.symbol = c.symbol AND m.timeframe = $4
                ORDER BY c.exchange, c.symbol
                """,  # noqa: S608 - made of our own constants
                list(exchanges),
                quote,
                markets_limit,
                timeframe,
            )
            return [Coin(_market(row), _meta(row)) for row in rows]

        return await self._pool.run(read, self._read_s)

    async def get_all_unique_coins(
        self, *, exchanges: Sequence[Exchange], quote: str, markets_limit: int = 0
    ) -> list[Market]:
        """The markets of `get_coins_from_db`, whatever the timeframe."""

        async def read(connection: Connection) -> list[Market]:
            rows = await connection.fetch(
                f"{_CHOSEN} ORDER BY exchange, symbol", list(exchanges), quote, markets_limit
            )
            return [_market(row) for row in rows]

        return await self._pool.run(read, self._read_s)

    async def save_markets(
        self, exchange: Exchange, listed: Sequence[ListedMarket], *, seen_at_ms: int
    ) -> SavedMarkets:
        """Stores what `exchange` lists now; known markets that it lacks become inactive.

        Only markets of the quotes in the listing can become inactive: a listing is of one quote.
        `enabled` stays, and so does a known turnover where the listing has none. All or nothing,
        but for a market with a name that PostgreSQL cannot hold (a zero byte), which is left out.
        Raises ValueError for an empty listing, which would end every market.
        """
        by_symbol = {entry.market.symbol: entry for entry in listed if _storable(entry.market)}
        if not by_symbol:
            raise ValueError(f"{exchange}: an empty listing is refused")
        columns = _columns(
            (m.symbol, m.base, m.quote, m.launched_ms, _finite(turnover))
            for m, turnover in by_symbol.values()
        )

        async def write(connection: Connection) -> SavedMarkets:
            async with connection.transaction():
                # One writer at a time; readers go on.
                await connection.execute("LOCK TABLE coins IN SHARE ROW EXCLUSIVE MODE")
                rows = await connection.fetch(
                    "SELECT symbol, active, quote = ANY($2) AS asked FROM coins"
                    " WHERE exchange = $1",
                    exchange,
                    list(set(columns[2])),
                )
                await connection.execute(_UPSERT_LISTED, exchange, seen_at_ms, *columns)
                left = [r["symbol"] for r in rows if r["asked"] and r["active"]]
                left = [symbol for symbol in left if symbol not in by_symbol]
                await connection.execute(
                    "UPDATE coins SET active = false WHERE exchange = $1 AND symbol = ANY($2)",
                    exchange,
                    left,
                )
                await connection.execute(
                    "INSERT INTO discoveries VALUES ($1, $2, $3) ON CONFLICT (exchange)"
                    " DO UPDATE SET (finished_ms, found) = ($2, $3)",
                    exchange,
                    seen_at_ms,
                    len(by_symbol),
                )
            active = {row["symbol"]: row["active"] for row in rows}
            added = sum(symbol not in active for symbol in by_symbol)
            returned = sum(not active.get(symbol, True) for symbol in by_symbol)
            return SavedMarkets(added, returned, len(left))

        return await self._pool.run(write, self._write_s)

    async def discovered_at_ms(self, exchange: Exchange) -> int | None:
        """When markets of `exchange` were last saved; None: never."""

        async def read(connection: Connection) -> int | None:
            found: int | None = await connection.fetchval(
                "SELECT finished_ms FROM discoveries WHERE exchange = $1", exchange
            )
            return found

        return await self._pool.run(read, self._read_s)

    # Metadata.

    async def save_metadata(
        self, timeframe: Timeframe, values: Mapping[str, Meta], *, computed_at_ms: int
    ) -> None:
        """Stores numbers by Market.key. What is no finite number is stored as not known.

        Older ones (by `computed_at_ms`) never replace newer ones; names that are not given keep
        what they had, apart from hurst, entropy and realised_volatility.
        """
        rows = [(key, timeframe, computed_at_ms, meta) for key, meta in values.items()]

        async def write(connection: Connection) -> None:
            await _write_metadata(connection, rows)

        if rows:
            await self._pool.run(write, self._write_s)

    # For the operator.

    async def list_coins(
        self, exchange: Exchange | None = None, timeframe: Timeframe | None = None
    ) -> list[CoinRecord]:
        """Every market, inactive and disabled ones too, by (exchange, symbol).

        With `timeframe`, only its metadata. What `import_coins` takes.
        """

        async def read(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(
                """
                SELECT c.*, m.timeframe, m.hurst, m.entropy, m.realised_volatility, m.other,
                    m.computed_at_ms
                FROM coins AS c
                LEFT JOIN coin_metadata AS m
                    ON m.exchange = c.exchange AND m.symbol = c.symbol AND m.timeframe = ANY($2)
                WHERE c.exchange = ANY($1)
                ORDER BY c.exchange, c.symbol
                """,
                list(Exchange) if exchange is None else [exchange],
                list(Timeframe) if timeframe is None else [timeframe],
            )

        return _records(await self._pool.run(read, self._read_s))

    async def set_enabled(self, keys: Iterable[str], enabled: bool) -> list[str]:
        """Enables or disables markets by Market.key, all or none.

        Returns the keys that no market has; if there are any, nothing was changed.
        """
        wanted = {key: _split(key) for key in keys}
        exchanges, symbols = _columns(wanted.values()) or ([], [])

        async def write(connection: Connection) -> list[str]:
            async with connection.transaction():
                rows = await connection.fetch(
                    "UPDATE coins AS c SET enabled = $3 FROM unnest($1::text[], $2::text[])"
                    " AS k(exchange, symbol) WHERE c.exchange = k.exchange"
                    " AND c.symbol = k.symbol RETURNING c.exchange || ':' || c.symbol AS key",
                    exchanges,
                    symbols,
                    enabled,
                )
                unknown = sorted(set(wanted) - {row["key"] for row in rows})
                if unknown:
                    raise _Unknown(unknown)
            return []

        try:
            return await self._pool.run(write, self._write_s)
        except _Unknown as error:
            return error.keys

    async def import_coins(self, records: Iterable[CoinRecord]) -> int:
        """Stores markets as they are given, replacing those of the same key; all or none.

        Metadata is added as `save_metadata` does. Returns how many markets were new.
        """
        chosen = {record.market.key: record for record in records}
        columns = _columns(
            (
                *(getattr(record.market, name) for name in _MARKET.split(", ")),
                *(record.active, record.enabled, _finite(record.turnover_24h)),
                *(record.first_seen_ms, record.last_seen_ms),
            )
            for record in chosen.values()
        )
        metadata = [
            (key, timeframe, known.computed_at_ms, known.values)
            for key, record in chosen.items()
            for timeframe, known in record.metadata.items()
        ]

        async def write(connection: Connection) -> int:
            async with connection.transaction():
                await connection.execute("LOCK TABLE coins IN SHARE ROW EXCLUSIVE MODE")
                before = await connection.fetchval("SELECT count(*) FROM coins")
                await connection.execute(_UPSERT_RECORDS, *columns)
                await _write_metadata(connection, metadata)
                after = await connection.fetchval("SELECT count(*) FROM coins")
            return int(after - before)

        return await self._pool.run(write, self._write_s) if chosen else 0


class _Unknown(Exception):
    def __init__(self, keys: list[str]) -> None:
        super().__init__()
        self.keys = keys


_CHOSEN: Final = f"""
    SELECT {_MARKET} FROM (
        SELECT {_MARKET}, row_number() OVER (
            PARTITION BY exchange ORDER BY turnover_24h DESC NULLS LAST, symbol
        ) AS place
        FROM coins
        WHERE active AND enabled AND exchange = ANY($1) AND quote = $2
    ) AS ranked
    WHERE $3 = 0 OR place <= $3
"""  # noqa: S608 - made of our own constants

_UPSERT_LISTED: Final = """
    INSERT INTO coins AS c (exchange, first_seen_ms, last_seen_ms,
        symbol, base, quote, launched_ms, turnover_24h)
    SELECT $1, $2, $2, *
    FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::float8[])
    ON CONFLICT (exchange, symbol) DO UPDATE SET
        base = excluded.base,
        quote = excluded.quote,
        launched_ms = coalesce(nullif(excluded.launched_ms, 0), c.launched_ms),
        turnover_24h = coalesce(excluded.turnover_24h, c.turnover_24h),
        active = true,
        last_seen_ms = excluded.last_seen_ms
"""

_UPSERT_RECORDS: Final = """
    INSERT INTO coins (exchange, symbol, base, quote, launched_ms, active, enabled, turnover_24h,
        first_seen_ms, last_seen_ms)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[],
        $6::boolean[], $7::boolean[], $8::float8[], $9::bigint[], $10::bigint[])
    ON CONFLICT (exchange, symbol) DO UPDATE SET (base, quote, launched_ms, active, enabled,
        turnover_24h, first_seen_ms, last_seen_ms) = (excluded.base, excluded.quote,
        excluded.launched_ms, excluded.active, excluded.enabled, excluded.turnover_24h,
        excluded.first_seen_ms, excluded.last_seen_ms)
"""

_UPSERT_METADATA: Final = """
    INSERT INTO coin_metadata AS m (exchange, symbol, timeframe, computed_at_ms,
        hurst, entropy, realised_volatility, other)
    SELECT e, s, t, c, h, n, v, o::jsonb
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::float8[], $6::float8[],
        $7::float8[], $8::text[]) AS given(e, s, t, c, h, n, v, o)
    ON CONFLICT (exchange, symbol, timeframe) DO UPDATE SET
        hurst = excluded.hurst,
        entropy = excluded.entropy,
        realised_volatility = excluded.realised_volatility,
        other = m.other || excluded.other,
        computed_at_ms = excluded.computed_at_ms
    WHERE m.computed_at_ms <= excluded.computed_at_ms
"""


async def _write_metadata(
    connection: Connection, rows: Iterable[tuple[str, Timeframe, int, Meta]]
) -> None:
    columns = _columns(
        (
            *_split(key),
            timeframe,
            computed_at_ms,
            *(_finite(meta.get(name)) for name in _NUMBERS),
            json.dumps({n: _finite(v) for n, v in meta.items() if n not in _NUMBERS}),
        )
        for key, timeframe, computed_at_ms, meta in rows
    )
    if columns:
        await connection.execute(_UPSERT_METADATA, *columns)


def _storable(market: Market) -> bool:
    # PostgreSQL's text holds every character but zero; half of a surrogate pair is none.
    text = f"{market.symbol}{market.base}{market.quote}"
    storable = not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
    if not storable:
        _log.warning("market_not_storable", exchange=market.exchange, symbol=ascii(market.symbol))
    return storable


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _split(key: str) -> tuple[str, str]:
    exchange, _, symbol = key.partition(":")
    return exchange, symbol


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _market(row: asyncpg.Record) -> Market:
    return Market(
        Exchange(row["exchange"]), row["symbol"], row["base"], row["quote"], row["launched_ms"]
    )


def _meta(row: asyncpg.Record) -> Meta:
    other: dict[str, float | None] = json.loads(row["other"] or "{}")
    return {name: row[name] for name in _NUMBERS} | dict(sorted(other.items()))


def _records(rows: Iterable[asyncpg.Record]) -> list[CoinRecord]:
    """One record of the rows of each market; they come one after the other."""
    records = []
    for _, group in itertools.groupby(rows, key=lambda row: (row["exchange"], row["symbol"])):
        of_market = list(group)
        first = of_market[0]
        metadata = {
            Timeframe(row["timeframe"]): CoinMetadata(_meta(row), row["computed_at_ms"])
            for row in of_market
            if row["timeframe"] is not None
        }
        records.append(
            CoinRecord(
                _market(first),
                first["active"],
                first["enabled"],
                first["turnover_24h"],
                first["first_seen_ms"],
                first["last_seen_ms"],
                {
                    timeframe: metadata[timeframe]
                    for timeframe in Timeframe
                    if timeframe in metadata
                },
            )
        )
    return records
