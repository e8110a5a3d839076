"""The tables coins and discoveries: which markets exist, and which of them are collected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from market.markets import Coin, Exchange, ListedMarket, Market, Meta
from market.timeframes import MINUTE_MS, Timeframe
from market.unconfirmed_lists import UnconfirmedList, unconfirmed_list
from market.unread_entries import UnreadEntry, at_most_told
from stores.cold.coin_metadata import (
    finite_or_none,
    market_from_row,
    meta_from_row,
    to_columns,
    write_metadata,
)
from stores.cold.listing_log import log_listings
from stores.cold.lives import known_markets, lives_now, mark_absent, save_lives
from stores.cold.names import encoding_of, refusals, told
from stores.cold.native_markets import JOIN_NATIVE, save_native
from stores.cold.pool import Connection, Pool

# Another run may end a little later than a newer one. Metadata further ahead is of a wrong clock.
_MOST_AHEAD_MS: Final = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class SavedMarkets:
    """How many markets of a listing were new, listed again, no longer listed, or replaced by
    another contract under the same symbol.

    `unconfirmed`: how many it would have removed; it was not believed then, and nothing changed.
    `refused`: the markets whose names cannot be stored, each with the reason; `unread`: those that
    are listed, but not in a form that could be stored.
    """

    added: int = 0
    returned: int = 0
    delisted: int = 0
    replaced: int = 0
    unconfirmed: int = 0
    refused: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """Of `refused` and `unread` as many as are stored and told, the last with a count."""
        return at_most_told(sorted((*self.refused, *self.unread)))


class Markets:
    """Reads and writes the markets to collect. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
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

    async def named(
        self, symbols: Sequence[str], *, exchanges: Sequence[Exchange], quote: str
    ) -> list[tuple[Market, int | None]]:
        """Those of the symbols that any list has had, collected or not, by (exchange, symbol); each
        with the time of the last list that had it, None while it is listed."""

        async def read(connection: Connection) -> list[tuple[Market, int | None]]:
            rows = await connection.fetch(_NAMED, list(exchanges), quote, list(symbols))
            return [(market_from_row(row), row["listed_to_ms"]) for row in rows]

        return await self._pool.read(read)

    async def save_markets(
        self,
        exchange: Exchange,
        listed: Sequence[ListedMarket],
        *,
        seen_at_ms: int,
        now_ms: int | None = None,
        unread: Sequence[UnreadEntry] = (),
    ) -> SavedMarkets:
        """Stores what `exchange` lists now; known markets that are not listed become inactive.

        Those that are listed but could not be read or stored stay as they are. `seen_at_ms`: the
        exchange's time, by which its markets are judged; `now_ms`: this machine's, by which the
        next list is due (None: the same).

        A listing covers one quote, so only markets of the listed quotes can become inactive. One
        that would remove many of them changes nothing unless the one before, at least a minute
        ago, said the same (unconfirmed_lists.py). `enabled` is kept, and so is a known turnover if
        the listing has none. It is one transaction. Raises ValueError for a listing of which
        nothing can be stored: an empty one would deactivate every market.
        """
        by_symbol = {entry.market.symbol: entry for entry in listed}

        async def write(connection: Connection) -> SavedMarkets:
            async with connection.transaction():
                # This mode blocks other writers but not readers.
                await connection.execute("LOCK TABLE coins IN SHARE ROW EXCLUSIVE MODE")
                due_from_ms = seen_at_ms if now_ms is None else now_ms
                return await _take_in(
                    connection, exchange, by_symbol, unread, seen_at_ms, due_from_ms
                )

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

        Values with an older `computed_at_ms` never replace newer ones, except those of a time that
        has not come yet. Names that are missing keep their value, except hurst, entropy and
        realised_volatility, which become NULL.
        """
        rows = [(key, timeframe, computed_at_ms, meta) for key, meta in values.items()]

        async def write(connection: Connection) -> None:
            await write_metadata(connection, rows, most_ahead_ms=_MOST_AHEAD_MS)

        if rows:
            await self._pool.write(write)


async def _take_in(
    connection: Connection,
    exchange: Exchange,
    whole: Mapping[str, ListedMarket],
    unread: Sequence[UnreadEntry],
    seen_at_ms: int,
    now_ms: int,
) -> SavedMarkets:
    """Compares a list with what is stored, by symbol, and stores it if it is believed."""
    encoding = await encoding_of(connection)
    refused = await refusals(connection, (entry.market for entry in whole.values()), encoding)
    listed = {symbol: entry for symbol, entry in whole.items() if symbol not in refused}
    if not listed:
        raise ValueError(f"{exchange}: an empty listing is refused")
    known = await known_markets(connection, exchange, seen_at_ms)
    kept = {entry.symbol: entry for entry in unread if entry.symbol not in whole}
    [listing] = await connection.fetch(_LAST_LISTING, exchange)
    listed_before_ms = listing["seen_ms"] or listing["finished_ms"] or 0
    lives = lives_now(known, listed, seen_at_ms=seen_at_ms, listed_before_ms=listed_before_ms)
    quotes = {entry.market.quote for entry in listed.values()}
    active = {name for name, market in known.items() if market.active and market.quote in quotes}
    delisted = [name for name in active if name not in whole and name not in kept]
    unread_now = {
        name: entry.why for name, entry in kept.items() if entry.expected or name in active
    }
    left_out = SavedMarkets(
        refused=tuple(told(name, why, encoding) for name, why in sorted(refused.items())),
        unread=tuple(told(name, why, encoding) for name, why in sorted(unread_now.items())),
    )
    replaced = [
        symbol
        for symbol, life in lives.items()
        if symbol in known and life.since_ms > known[symbol].life.since_ms
    ]
    # Another contract under a known symbol removes the known one.
    removed = sorted({*delisted, *(symbol for symbol in replaced if known[symbol].active)})
    before = _unconfirmed_before(listing)
    found = unconfirmed_list(removed, len(active), before=before, seen_at_ms=now_ms)
    if found is not None:
        columns = (found.since_ms, list(found.removed), left_out.told)
        await connection.execute(_UNCONFIRMED, exchange, *columns)
        return replace(left_out, unconfirmed=len(removed))
    rows = to_columns(
        (
            *(symbol, entry.market.base, entry.market.quote),
            *(lives[symbol].launched_ms, finite_or_none(entry.turnover_24h)),
        )
        for symbol, entry in listed.items()
    )
    await connection.execute(_UPSERT_LISTED, exchange, seen_at_ms, *rows)
    await connection.execute(
        "UPDATE coins SET active = false WHERE exchange = $1 AND symbol = ANY($2)",
        exchange,
        delisted,
    )
    await save_native(connection, (entry.market for entry in listed.values()))
    await save_lives(connection, exchange, lives, replaced)
    await mark_absent(connection, exchange, delisted, from_ms=seen_at_ms)
    await log_listings(
        connection,
        exchange,
        ((entry.market, lives[symbol]) for symbol, entry in listed.items()),
        kept=[symbol for symbol in kept if symbol in known],
        replaced=replaced,
        seen_at_ms=seen_at_ms,
    )
    await connection.execute(_BELIEVED, exchange, left_out.told, seen_at_ms)
    await connection.execute(
        "INSERT INTO discoveries VALUES ($1, $2, $3) ON CONFLICT (exchange)"
        " DO UPDATE SET (finished_ms, found) = ($2, $3)",
        exchange,
        now_ms,
        len(listed),
    )
    added = sum(symbol not in known for symbol in listed)
    returned = sum(symbol in known and not known[symbol].active for symbol in listed)
    return replace(
        left_out,
        added=added,
        returned=returned,
        delisted=len(delisted),
        replaced=len(replaced),
    )


def _unconfirmed_before(listing: asyncpg.Record) -> UnconfirmedList | None:
    if listing["unconfirmed_ms"] is None:
        return None
    return UnconfirmedList(listing["unconfirmed_ms"], tuple(listing["unconfirmed"] or ()))


_MARKET: Final = "exchange, symbol, base, quote, launched_ms"

_SELECTED_MARKETS: Final = f"""
    SELECT {_MARKET}, coalesce(since_ms, 0) AS since_ms, native, contract_size FROM (
        SELECT {_MARKET}, row_number() OVER (
            PARTITION BY exchange ORDER BY turnover_24h DESC NULLS LAST, symbol
        ) AS place
        FROM coins
        WHERE active AND enabled AND exchange = ANY($1) AND quote = $2
    ) AS ranked
    LEFT JOIN (SELECT exchange, symbol, since_ms FROM market_lives) AS lives
        USING (exchange, symbol)
    {JOIN_NATIVE}
    WHERE $3 = 0 OR place <= $3
"""  # noqa: S608 - made of our own constants

_NAMED: Final = f"""
    SELECT {_MARKET}, coalesce(since_ms, 0) AS since_ms, native, contract_size,
        CASE WHEN NOT active THEN last_seen_ms END AS listed_to_ms
    FROM coins LEFT JOIN (SELECT exchange, symbol, since_ms FROM market_lives) AS lives
        USING (exchange, symbol)
    {JOIN_NATIVE}
    WHERE exchange = ANY($1) AND quote = $2 AND symbol = ANY($3)
    ORDER BY exchange, symbol
"""  # noqa: S608 - made of our own constants

_LAST_LISTING: Final = """
    SELECT d.finished_ms, l.seen_ms, l.unconfirmed_ms, l.unconfirmed
    FROM (SELECT $1::text AS exchange) AS e
    LEFT JOIN discoveries AS d USING (exchange) LEFT JOIN listings AS l USING (exchange)
"""

_BELIEVED: Final = """
    INSERT INTO listings (exchange, refused, seen_ms) VALUES ($1, $2, $3)
    ON CONFLICT (exchange) DO UPDATE
    SET (failures, failed_ms, failure, unconfirmed_ms, unconfirmed, refused, seen_ms)
        = (0, NULL, NULL, NULL, NULL, $2, $3)
"""

_UNCONFIRMED: Final = """
    INSERT INTO listings (exchange, unconfirmed_ms, unconfirmed, refused) VALUES ($1, $2, $3, $4)
    ON CONFLICT (exchange) DO UPDATE
    SET (failures, failed_ms, failure, unconfirmed_ms, unconfirmed, refused)
        = (0, NULL, NULL, $2, $3, $4)
"""

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
