"""The table native_markets: what exchanges call markets, and how many coins one contract is."""

from collections.abc import Iterable
from typing import Final

from market.markets import Market
from stores.cold.pool import Connection

# Of queries that join it: both are null where the market has no row.
JOIN_NATIVE: Final = "LEFT JOIN native_markets USING (exchange, symbol)"


async def save_native(connection: Connection, markets: Iterable[Market]) -> None:
    """Stores the exchange's id and contract size of markets, of whatever exchanges."""
    every = list(markets)
    own = [market for market in every if market.is_native]
    usual = [market for market in every if not market.is_native]
    await connection.execute(
        _SAVE,
        [str(market.exchange) for market in own],
        [market.symbol for market in own],
        [market.native for market in own],
        [market.contract_size for market in own],
    )
    await connection.execute(
        _USUAL, [str(market.exchange) for market in usual], [market.symbol for market in usual]
    )


_SAVE: Final = """
    INSERT INTO native_markets (exchange, symbol, native, contract_size)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[])
    ON CONFLICT (exchange, symbol) DO UPDATE
    SET (native, contract_size) = (excluded.native, excluded.contract_size)
"""

_USUAL: Final = """
    UPDATE native_markets AS n SET (native, contract_size) = (n.symbol, 1)
    FROM unnest($1::text[], $2::text[]) AS m(exchange, symbol)
    WHERE n.exchange = m.exchange AND n.symbol = m.symbol
"""
