"""The tables coins and discoveries: which markets exist, and which of them are collected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from market.markets import Coin, Exchange, ListedMarket, Market, Meta
from market.timeframes import Timeframe
from stores.cold.coin_metadata import (
    finite_or_none,
    market_from_row,
    meta_from_row,
    to_columns,
    write_metadata,
)
from stores.cold.pool import Connection, DatabasePool

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SavedMarkets:
    """How many markets of a listing were new, listed again, and no longer listed."""

    added: int
    returned: int
    delisted: int


class Markets:
    """Reads and writes the markets to collect. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: DatabasePool) -> None:
        self._pool = pool

    async def coins(
        self,
        timeframe: Timeframe,
        *,
        exchanges: Sequence[Exchange],
        quote: str,
        markets_limit: int = 0,
    ) -> list[Coin]:
        """Active and enabled markets by (exchange, symbol), with the metadata of `timeframe`.

        `markets_limit` (0: no limit) keeps, for each exchange, the markets with the highest
        turnover. Unknown turnover counts as lowest; ties are broken by symbol.
        """

        async def read(connection: Connection) -> list[Coin]:
            rows = await connection.fetch(
                f"""
                SELECT c.*, m.hurst, m.entropy, m.realised_volatility, m.other
                FROM ({_SELECTED_MARKETS}) AS c
                LEFT JOIN coin_metadata AS m
                    ON m.exchange = c.exchange AND m.symbol = c.symbol AND m.timeframe = $4
                ORDER BY c.exchange, c.symbol
                """,  # noqa: S608 - made of our own constants
                list(exchanges),
                quote,
                markets_limit,
                timeframe,
            )
            return [Coin(market_from_row(row), meta_from_row(row)) for row in rows]

        return await self._pool.read(read)

    async def selected(
        self, *, exchanges: Sequence[Exchange], quote: str, markets_limit: int = 0
    ) -> list[Market]:
        """The markets of `coins` without metadata."""

        async def read(connection: Connection) -> list[Market]:
            rows = await connection.fetch(
                f"{_SELECTED_MARKETS} ORDER BY exchange, symbol",
                list(exchanges),
                quote,
                markets_limit,
            )
            return [market_from_row(row) for row in rows]

        return await self._pool.read(read)

    async def save_markets(
        self, exchange: Exchange, listed: Sequence[ListedMarket], *, seen_at_ms: int
    ) -> SavedMarkets:
        """Stores what `exchange` lists now; known markets that are not listed become inactive.

        A listing covers one quote, so only markets of the listed quotes can become inactive.
        `enabled` is kept, and so is a known turnover if the listing has none. It is one
        transaction; a market whose name PostgreSQL cannot store is logged and left out.
        Raises ValueError for an empty listing, which would deactivate every market.
        """
        by_symbol = {entry.market.symbol: entry for entry in listed if _storable(entry.market)}
        if not by_symbol:
            raise ValueError(f"{exchange}: an empty listing is refused")
        columns = to_columns(
            (m.symbol, m.base, m.quote, m.launched_ms, finite_or_none(turnover))
            for m, turnover in by_symbol.values()
        )

        async def write(connection: Connection) -> SavedMarkets:
            async with connection.transaction():
                # This mode blocks other writers but not readers.
                await connection.execute("LOCK TABLE coins IN SHARE ROW EXCLUSIVE MODE")
                rows = await connection.fetch(
                    "SELECT symbol, active, quote = ANY($2) AS asked FROM coins"
                    " WHERE exchange = $1",
                    exchange,
                    list(set(columns[2])),
                )
                await connection.execute(_UPSERT_LISTED, exchange, seen_at_ms, *columns)
                active = [r["symbol"] for r in rows if r["asked"] and r["active"]]
                delisted = [symbol for symbol in active if symbol not in by_symbol]
                await connection.execute(
                    "UPDATE coins SET active = false WHERE exchange = $1 AND symbol = ANY($2)",
                    exchange,
                    delisted,
                )
                await connection.execute(
                    "INSERT INTO discoveries VALUES ($1, $2, $3) ON CONFLICT (exchange)"
                    " DO UPDATE SET (finished_ms, found) = ($2, $3)",
                    exchange,
                    seen_at_ms,
                    len(by_symbol),
                )
            was_active = {row["symbol"]: row["active"] for row in rows}
            added = sum(symbol not in was_active for symbol in by_symbol)
            returned = sum(not was_active.get(symbol, True) for symbol in by_symbol)
            return SavedMarkets(added, returned, len(delisted))

        return await self._pool.write(write)

    async def discovered_at_ms(self, exchange: Exchange) -> int | None:
        """When markets of `exchange` were last saved (UTC ms), or None."""

        async def read(connection: Connection) -> int | None:
            found: int | None = await connection.fetchval(
                "SELECT finished_ms FROM discoveries WHERE exchange = $1", exchange
            )
            return found

        return await self._pool.read(read)

    async def save_metadata(
        self, timeframe: Timeframe, values: Mapping[str, Meta], *, computed_at_ms: int
    ) -> None:
        """Stores metadata by Market.key; NaN and infinities are stored as NULL.

        Values with an older `computed_at_ms` never replace newer ones. Names that are missing
        keep their value, except hurst, entropy and realised_volatility, which become NULL.
        """
        rows = [(key, timeframe, computed_at_ms, meta) for key, meta in values.items()]

        async def write(connection: Connection) -> None:
            await write_metadata(connection, rows)

        if rows:
            await self._pool.write(write)


_MARKET: Final = "exchange, symbol, base, quote, launched_ms"

_SELECTED_MARKETS: Final = f"""
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


def _storable(market: Market) -> bool:
    # PostgreSQL's text holds any character except U+0000; lone surrogates are not characters.
    text = f"{market.symbol}{market.base}{market.quote}"
    storable = not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
    if not storable:
        _log.warning("market_not_storable", exchange=market.exchange, symbol=ascii(market.symbol))
    return storable
