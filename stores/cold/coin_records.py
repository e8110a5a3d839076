"""All stored facts of every market: listed, enabled, disabled and imported for the operator."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg

from market.markets import Exchange, Market, Meta
from market.timeframes import Timeframe
from stores.cold.coin_metadata import (
    finite_or_none,
    market_from_row,
    meta_from_row,
    split_key,
    to_columns,
    write_metadata,
)
from stores.cold.native_markets import save_native
from stores.cold.pool import Connection, Pool

_MARKET: Final = ("exchange", "symbol", "base", "quote", "launched_ms")


@dataclass(frozen=True, slots=True)
class CoinMetadata:
    values: Meta
    computed_at_ms: int


@dataclass(frozen=True, slots=True)
class CoinRecord:
    """All stored facts of a market; `metadata` has only timeframes with stored values."""

    market: Market
    active: bool
    enabled: bool
    turnover_24h: float | None
    first_seen_ms: int
    last_seen_ms: int
    metadata: Mapping[Timeframe, CoinMetadata]


class CoinRecords:
    """Reads and writes CoinRecords. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_coins(
        self, exchange: Exchange | None = None, timeframe: Timeframe | None = None
    ) -> list[CoinRecord]:
        """Every market, inactive and disabled ones included, sorted by (exchange, symbol).

        With `timeframe`, only that timeframe's metadata.
        """

        async def read(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(
                """
                SELECT c.*, coalesce(l.since_ms, 0) AS since_ms, n.native, n.contract_size,
                    m.timeframe, m.hurst, m.entropy, m.realised_volatility, m.other,
                    m.computed_at_ms
                FROM coins AS c
                LEFT JOIN market_lives AS l
                    ON l.exchange = c.exchange AND l.symbol = c.symbol
                LEFT JOIN native_markets AS n
                    ON n.exchange = c.exchange AND n.symbol = c.symbol
                LEFT JOIN coin_metadata AS m
                    ON m.exchange = c.exchange AND m.symbol = c.symbol AND m.timeframe = ANY($2)
                WHERE c.exchange = ANY($1)
                ORDER BY c.exchange, c.symbol
                """,
                list(Exchange) if exchange is None else [exchange],
                list(Timeframe) if timeframe is None else [timeframe],
            )

        return _records(await self._pool.read(read))

    async def set_enabled(self, keys: Iterable[str], enabled: bool) -> list[str]:
        """Enables or disables markets by Market.key, in one transaction.

        Returns the unknown keys; if there are any, nothing is changed.
        """
        wanted = {key: split_key(key) for key in keys}
        exchanges, symbols = to_columns(wanted.values()) or ([], [])

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
                    raise _UnknownMarkets(unknown)
            return []

        try:
            return await self._pool.write(write)
        except _UnknownMarkets as error:
            return error.keys

    async def import_coins(self, records: Iterable[CoinRecord]) -> int:
        """Inserts or replaces markets by Market.key, in one transaction.

        Metadata is merged as in `Markets.save_metadata`, but the later one stays whatever its time.
        Returns how many markets were new.
        """
        chosen = {record.market.key: record for record in records}
        columns = to_columns(
            (
                *(getattr(record.market, name) for name in _MARKET),
                *(record.active, record.enabled, finite_or_none(record.turnover_24h)),
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
                await save_native(connection, (record.market for record in chosen.values()))
                await write_metadata(connection, metadata)
                after = await connection.fetchval("SELECT count(*) FROM coins")
            return int(after - before)

        return await self._pool.write(write) if chosen else 0


class _UnknownMarkets(Exception):
    def __init__(self, keys: list[str]) -> None:
        super().__init__()
        self.keys = keys


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


def _records(rows: Iterable[asyncpg.Record]) -> list[CoinRecord]:
    """Groups rows, which are sorted by market, into one record per market."""
    records = []
    for _, group in itertools.groupby(rows, key=lambda row: (row["exchange"], row["symbol"])):
        market_rows = list(group)
        first = market_rows[0]
        metadata = {
            Timeframe(row["timeframe"]): CoinMetadata(meta_from_row(row), row["computed_at_ms"])
            for row in market_rows
            if row["timeframe"] is not None
        }
        records.append(
            CoinRecord(
                market_from_row(first),
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
