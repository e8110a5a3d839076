"""The tables listings and discoveries: how each exchange's list of markets was last taken in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from market.markets import Exchange
from stores.cold.names import encoding_of, storable
from stores.cold.pool import Connection, Pool

_LONGEST_FAILURE: Final = 500


@dataclass(frozen=True, slots=True)
class ListingState:
    """What is known of an exchange's list. Times are UTC ms.

    `discovered_ms`: when a list was last believed, None if never. `failures`: how often in a row
    it could not be read since, last at `failed_ms` because of `failure`. `unconfirmed_ms`: when a
    list was first not believed because it would remove `unconfirmed` markets. `refused`: the
    names of listed markets that could not be read or stored, each with the reason. `active` of its
    markets are listed and `enabled` of these are not disabled.
    """

    discovered_ms: int | None = None
    failures: int = 0
    failed_ms: int | None = None
    failure: str | None = None
    unconfirmed_ms: int | None = None
    unconfirmed: int = 0
    refused: tuple[str, ...] = ()
    active: int = 0
    enabled: int = 0


class Listings:
    """Reads and writes how lists were taken in. All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def states(
        self, exchanges: Sequence[Exchange], quote: str
    ) -> Mapping[Exchange, ListingState]:
        """The state of each exchange's list, whose markets in `quote` are counted."""

        async def read(connection: Connection) -> Mapping[Exchange, ListingState]:
            return await _states(connection, exchanges, quote)

        return await self._pool.read(read)

    async def probe(
        self, exchanges: Sequence[Exchange], quote: str
    ) -> tuple[Mapping[Exchange, ListingState], str | None]:
        """The `states`, and why the database takes no writes, which writes nothing to find out.

        It also asks for what `states` does not need, but the runs do.
        """

        async def read(
            connection: Connection,
        ) -> tuple[Mapping[Exchange, ListingState], str | None]:
            states = await _states(connection, exchanges, quote)
            await connection.execute(_NEEDED)
            refusal: str | None = await connection.fetchval(_REFUSAL, _REPLICA, _READ_ONLY)
            return states, refusal

        return await self._pool.read(read)

    async def failed(self, exchange: Exchange, reason: str, *, at_ms: int) -> None:
        """Counts a list that could not be read."""

        async def write(connection: Connection) -> None:
            text = storable(reason[:_LONGEST_FAILURE], await encoding_of(connection))
            await connection.execute(_FAILED, exchange, at_ms, text[:_LONGEST_FAILURE])

        await self._pool.write(write)


async def _states(
    connection: Connection, exchanges: Sequence[Exchange], quote: str
) -> Mapping[Exchange, ListingState]:
    rows = await connection.fetch(_STATES, list(exchanges), quote)
    return {
        Exchange(row["exchange"]): ListingState(
            row["finished_ms"],
            row["failures"] or 0,
            row["failed_ms"],
            row["failure"],
            row["unconfirmed_ms"],
            len(row["unconfirmed"] or ()),
            tuple(row["refused"] or ()),
            row["active"],
            row["enabled"],
        )
        for row in rows
    }


_READ_ONLY: Final = (
    "its transactions are read-only; set default_transaction_read_only to off for this user and"
    " database"
)
_REPLICA: Final = "it is a replica; set DATABASE_URL to the primary server"
_REFUSAL: Final = """
    SELECT CASE WHEN pg_is_in_recovery() THEN $1
        WHEN current_setting('transaction_read_only') = 'on' THEN $2 END
"""

# A run whose markets cannot be read takes the last known ones, and goes on without metadata.
_NEEDED: Final = """
    SELECT c.base, c.launched_ms, c.turnover_24h, l.launched_ms, l.since_ms, l.absent_from_ms,
        m.timeframe, m.hurst, m.entropy, m.realised_volatility, m.other, m.computed_at_ms
    FROM coins AS c
    LEFT JOIN market_lives AS l USING (exchange, symbol)
    LEFT JOIN coin_metadata AS m USING (exchange, symbol)
    WHERE false
"""

_STATES: Final = """
    SELECT e.exchange, d.finished_ms, l.*, c.active, c.enabled
    FROM unnest($1::text[]) AS e(exchange)
    LEFT JOIN discoveries AS d ON d.exchange = e.exchange
    LEFT JOIN (SELECT exchange AS name, failures, failed_ms, failure, unconfirmed_ms, unconfirmed,
        refused FROM listings) AS l ON l.name = e.exchange
    CROSS JOIN LATERAL (SELECT count(*) AS active, count(*) FILTER (WHERE enabled) AS enabled
        FROM coins WHERE active AND exchange = e.exchange AND quote = $2) AS c
"""

_FAILED: Final = """
    INSERT INTO listings AS l (exchange, failures, failed_ms, failure) VALUES ($1, 1, $2, $3)
    ON CONFLICT (exchange) DO UPDATE SET (failures, failed_ms, failure) = (l.failures + 1, $2, $3)
"""
