"""ListingLog: the table history_listings, which markets each exchange listed when."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from market.lives import Life
from market.markets import Exchange, Market
from stores.cold.coin_metadata import to_columns
from stores.cold.pool import Connection, Pool


class Listing(NamedTuple):
    """A market while it was listed. Times are UTC ms: `launched_ms` 0 if it is not known;
    `listed_from_ms`: the first list that had it; `listed_to_ms`: the first that lacked it, None
    while it is listed."""

    exchange: str
    symbol: str
    base: str
    quote: str
    launched_ms: int
    listed_from_ms: int
    listed_to_ms: int | None


class ListingLog:
    """Reads the log. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def listed_at(
        self, as_of_ms: int, *, exchanges: Sequence[Exchange], quote: str
    ) -> list[Listing]:
        """What was listed at that time, by (exchange, symbol)."""

        async def read(connection: Connection) -> list[Listing]:
            rows = await connection.fetch(_LISTED_AT, list(exchanges), quote, as_of_ms)
            return [Listing(*row) for row in rows]

        return await self._pool.read(read)

    async def listings_of(
        self, markets: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[Listing]]:
        """All listings of each of these markets (exchange, symbol) that has any."""

        async def read(connection: Connection) -> list[Listing]:
            exchanges, symbols = zip(*markets, strict=True) if markets else ((), ())
            rows = await connection.fetch(_LISTINGS_OF, list(exchanges), list(symbols))
            return [Listing(*row) for row in rows]

        found: dict[tuple[str, str], list[Listing]] = {}
        for listing in await self._pool.read(read):
            found.setdefault((listing.exchange, listing.symbol), []).append(listing)
        return found

    async def first_ms(self, *, exchanges: Sequence[Exchange], quote: str) -> int | None:
        """Since when it is known what they list; None if it is not."""

        async def read(connection: Connection) -> int | None:
            found: int | None = await connection.fetchval(_FIRST, list(exchanges), quote)
            return found

        return await self._pool.read(read)


async def log_listings(
    connection: Connection,
    exchange: str,
    listed: Iterable[tuple[Market, Life]],
    *,
    kept: Iterable[str],
    replaced: Iterable[str],
    seen_at_ms: int,
) -> None:
    """Notes a list that is believed, with at least one market. `kept`: known symbols that it has
    in a form that cannot be read; `replaced`: those that are another contract now."""
    symbols, bases, quotes, launched = to_columns(
        (market.symbol, market.base, market.quote, life.launched_ms) for market, life in listed
    )
    names = (symbols, bases, quotes)
    there, quoted = [*symbols, *kept], list({*quotes})
    await connection.execute(_END, exchange, quoted, there, list(replaced), seen_at_ms, *names)
    await connection.execute(_BEGIN, exchange, seen_at_ms, *names, launched)


_END: Final = """
    UPDATE history_listings AS h SET listed_to = greatest($5, h.listed_from)
    WHERE h.exchange = $1 AND h.listed_to IS NULL AND h.quote = ANY($2) AND (
        NOT h.symbol = ANY($3) OR h.symbol = ANY($4) OR EXISTS (
            SELECT FROM unnest($6::text[], $7::text[], $8::text[]) AS n(symbol, base, quote)
            WHERE n.symbol = h.symbol AND (n.base, n.quote) <> (h.base, h.quote)))
"""

_BEGIN: Final = """
    INSERT INTO history_listings (exchange, symbol, base, quote, launched_ms, listed_from)
    SELECT $1, n.symbol, n.base, n.quote, n.launched_ms, $2
    FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[])
        AS n(symbol, base, quote, launched_ms)
    WHERE NOT EXISTS (SELECT FROM history_listings AS h
        WHERE h.exchange = $1 AND h.symbol = n.symbol AND h.listed_to IS NULL)
    ON CONFLICT (exchange, symbol, listed_from) DO UPDATE SET listed_to = NULL
"""

_LISTED_AT: Final = """
    SELECT exchange, symbol, base, quote, launched_ms, listed_from, listed_to
    FROM history_listings
    WHERE exchange = ANY($1) AND quote = $2 AND listed_from <= $3
        AND (listed_to IS NULL OR listed_to > $3)
    ORDER BY exchange, symbol
"""

_LISTINGS_OF: Final = """
    SELECT exchange, symbol, base, quote, launched_ms, listed_from, listed_to
    FROM history_listings
    JOIN unnest($1::text[], $2::text[]) AS wanted(exchange, symbol) USING (exchange, symbol)
    ORDER BY exchange, symbol, listed_from
"""

_FIRST: Final = """
    SELECT min(listed_from) FROM history_listings WHERE exchange = ANY($1) AND quote = $2
"""
