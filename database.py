"""The cold store's door: one pool of connections to PostgreSQL, and a repository per noun."""

from collections.abc import Sequence
from pathlib import Path

from market.markets import Coin, Exchange, Market
from market.timeframes import Timeframe
from stores.cold.coin_records import CoinMetadata, CoinRecord, CoinRecords
from stores.cold.markets import Markets, SavedMarkets
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import DatabasePool, DatabaseUnavailable

__all__ = [
    "CoinMetadata",
    "CoinRecord",
    "Database",
    "DatabaseUnavailable",
    "SavedMarkets",
]


class Database:
    """Its methods, and those of its repositories, raise DatabaseUnavailable. `aclose` when done.

    Connections are made when first needed and again when they were lost, so a database that is
    away costs errors until it is back, no more. `read_s` and `write_s`: how long a call may take
    once the connection stands.
    """

    def __init__(
        self, dsn: str, *, migrations: Path = MIGRATIONS, read_s: float = 5.0, write_s: float = 20.0
    ) -> None:
        self._pool = DatabasePool(dsn, migrations, read_s=read_s, write_s=write_s)
        self.markets = Markets(self._pool)
        self.coin_records = CoinRecords(self._pool)

    async def open(self) -> None:
        """Connects and applies pending migrations; every other method does so when needed."""
        await self._pool.open()

    async def aclose(self) -> None:
        await self._pool.aclose()

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
        return await self.markets.coins(
            timeframe, exchanges=exchanges, quote=quote, markets_limit=markets_limit
        )

    async def get_all_unique_coins(
        self, *, exchanges: Sequence[Exchange], quote: str, markets_limit: int = 0
    ) -> list[Market]:
        """The markets of `get_coins_from_db`, whatever the timeframe."""
        return await self.markets.selected(
            exchanges=exchanges, quote=quote, markets_limit=markets_limit
        )
