"""The cold store (PostgreSQL) behind one object: its connection pool and its repositories."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Self

from market.markets import Coin, Exchange, Market
from market.timeframes import Timeframe
from stores.cold.coin_records import CoinMetadata, CoinRecord, CoinRecords
from stores.cold.collectors import CollectorWish, LiveCollectors
from stores.cold.history.series import (
    Checked,
    Compacted,
    Hole,
    Retained,
    Revisions,
    SeriesKey,
    SeriesRows,
    Stored,
    Versions,
)
from stores.cold.history.tables import HistoryTables, Snapshot
from stores.cold.listing_log import Listing, ListingLog
from stores.cold.listings import Listings, ListingState
from stores.cold.live_tables import BookRow, LiveRow, LiveTables, TickerRow, TradeRow
from stores.cold.markets import Markets, SavedMarkets
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import (
    DATABASE_TEXT,
    LASTING_TEXTS,
    DatabasePool,
    DatabaseUnavailable,
    Pool,
    PoolOfOneRun,
)

__all__ = [
    "DATABASE_TEXT",
    "LASTING_TEXTS",
    "BookRow",
    "Checked",
    "CoinMetadata",
    "CoinRecord",
    "CollectorWish",
    "Compacted",
    "Database",
    "DatabaseUnavailable",
    "HistoryTables",
    "Hole",
    "Listing",
    "ListingLog",
    "ListingState",
    "LiveRow",
    "LiveTables",
    "Retained",
    "Revisions",
    "SavedMarkets",
    "SeriesKey",
    "SeriesRows",
    "Snapshot",
    "Stored",
    "TickerRow",
    "TradeRow",
    "Versions",
]


class Database:
    """The pool and its repositories; all their methods raise DatabaseUnavailable.

    Connections are opened when first needed and again after they were lost. `read_s` and
    `write_s` limit one call; connecting is limited separately. Call `aclose` when done.
    """

    def __init__(
        self, dsn: str, *, migrations: Path = MIGRATIONS, read_s: float = 5.0, write_s: float = 20.0
    ) -> None:
        self._pool = DatabasePool(dsn, migrations, read_s=read_s, write_s=write_s)
        self._use(self._pool)

    def _use(self, pool: Pool) -> None:
        self.markets = Markets(pool)
        self.listings = Listings(pool)
        self.listing_log = ListingLog(pool)
        self.coin_records = CoinRecords(pool)
        self.live_tables = LiveTables(pool)
        self.collectors = LiveCollectors(pool)
        self.history = HistoryTables(pool)

    def for_one_run(self) -> Self:
        """The same database for the calls of one run: once one of them met no answer within its
        deadline, the others fail at once."""
        found = copy(self)
        found._use(PoolOfOneRun(self._pool))
        return found

    async def open(self) -> None:
        """Connects and applies pending migrations, as every other method does if needed."""
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
        """Active and enabled markets with the metadata of `timeframe`, as `Markets.coins`."""
        return await self.markets.coins(
            timeframe, exchanges=exchanges, quote=quote, markets_limit=markets_limit
        )

    async def get_all_unique_coins(
        self, *, exchanges: Sequence[Exchange], quote: str, markets_limit: int = 0
    ) -> list[Market]:
        """The markets of `get_coins_from_db` without metadata."""
        return await self.markets.selected(
            exchanges=exchanges, quote=quote, markets_limit=markets_limit
        )
