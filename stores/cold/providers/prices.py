"""The table market_prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import asyncpg

from stores.cold.names import encoding_of
from stores.cold.pool import Connection, Pool
from stores.cold.providers.inserting import insert_new

_TYPES: Final = {
    "symbol": "text",
    "price_usd": "numeric",
    "source": "text",
    "timestamp": "bigint",
    "quote": "text",
    "kind": "text",
    "price": "numeric",
    "volume_24h": "numeric",
    "change_24h": "numeric",
    "market_cap": "numeric",
    "stated": "boolean",
    "known_at": "bigint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """A price as a provider told it. Times are UTC ms; `stated`: whether `timestamp_ms` is the
    provider's own, else it is when the price was fetched. `change_24h` is a fraction."""

    symbol: str
    source: str
    timestamp_ms: int
    quote: str
    kind: str
    price: Decimal
    volume_24h: Decimal | None
    change_24h: Decimal | None
    market_cap: Decimal | None
    stated: bool
    known_at_ms: int

    @property
    def price_usd(self) -> Decimal | None:
        return self.price if self.quote == "USD" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFilter:
    """Which prices: None stands for all. Times are UTC ms, the ends exclusive; `as_of_ms`: those
    that were known then."""

    symbol: str
    quote: str | None = None
    kind: str | None = None
    source: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    as_of_ms: int | None = None


class MarketPrices:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, rows: Sequence[PriceRow]) -> int:
        """Stores what is new; how many. A reading with the same stamp is stored already; one
        without a stamp and with the price of its source's last one within the hour says nothing
        new."""

        async def write(connection: Connection) -> int:
            unstated = [row for row in rows if not row.stated]
            known = await _last_unstated(connection, unstated) if unstated else {}
            new = []
            for row in sorted(rows, key=lambda row: row.timestamp_ms):
                if row.stated:
                    new.append(row)
                elif known.get(_key(row)) != row.price:
                    known[_key(row)] = row.price
                    new.append(row)
            encoding = await encoding_of(connection)
            values = [_values(row) for row in new]
            return await insert_new(connection, "market_prices", _TYPES, values, encoding=encoding)

        return await self._pool.write(write) if rows else 0

    async def listed(
        self, which: PriceFilter, *, after: tuple[int, str] | None = None, limit: int = 1000
    ) -> list[PriceRow]:
        """Oldest first, at most `limit`. `after`: timestamp_ms and source of the last one of the
        page before; prices of one instant by different sources are apart by that."""
        after_ms, after_source = after or (None, None)

        async def read(connection: Connection) -> list[PriceRow]:
            rows = await connection.fetch(
                _LISTED,
                *(which.symbol, which.quote, which.kind, which.source),
                *(which.from_ms, which.to_ms, which.as_of_ms, after_ms, after_source, limit),
            )
            return [_row(row) for row in rows]

        return await self._pool.read(read)


def _key(row: PriceRow) -> tuple[str, str, str, str]:
    return row.symbol, row.quote, row.kind, row.source


async def _last_unstated(
    connection: Connection, rows: Sequence[PriceRow]
) -> dict[tuple[str, str, str, str], Decimal]:
    """The last prices of these, if they were fetched within the hour before."""
    keys = list(zip(*map(_key, rows), strict=True))
    since_ms = min(row.timestamp_ms for row in rows) - _STILL_SAID_MS
    found = await connection.fetch(_LAST, *map(list, keys), since_ms)
    return {(r["symbol"], r["quote"], r["kind"], r["source"]): r["price"] for r in found}


def _values(row: PriceRow) -> tuple[object, ...]:
    return (
        *(row.symbol, row.price_usd, row.source, row.timestamp_ms, row.quote, row.kind, row.price),
        *(row.volume_24h, row.change_24h, row.market_cap, row.stated, row.known_at_ms),
    )


def _row(row: asyncpg.Record) -> PriceRow:
    return PriceRow(
        symbol=row["symbol"],
        source=row["source"],
        timestamp_ms=row["timestamp"],
        quote=row["quote"],
        kind=row["kind"],
        price=row["price"],
        volume_24h=row["volume_24h"],
        change_24h=row["change_24h"],
        market_cap=row["market_cap"],
        stated=row["stated"],
        known_at_ms=row["known_at"],
    )


_STILL_SAID_MS: Final = 3_600_000
_LAST: Final = """
    SELECT DISTINCT ON (symbol, quote, kind, source) symbol, quote, kind, source, price
    FROM market_prices JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[])
        AS asked(symbol, quote, kind, source) USING (symbol, quote, kind, source)
    WHERE timestamp >= $5 AND NOT stated
    ORDER BY symbol, quote, kind, source, timestamp DESC
"""
_LISTED: Final = """
    SELECT * FROM market_prices
    WHERE symbol = $1 AND ($2::text IS NULL OR quote = $2) AND ($3::text IS NULL OR kind = $3)
        AND ($4::text IS NULL OR source = $4) AND ($5::bigint IS NULL OR timestamp >= $5)
        AND ($6::bigint IS NULL OR timestamp < $6) AND ($7::bigint IS NULL OR known_at <= $7)
        AND ($8::bigint IS NULL OR (timestamp, source) > ($8, $9::text))
    ORDER BY timestamp, source LIMIT $10
"""
