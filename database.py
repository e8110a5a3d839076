"""The cold store (PostgreSQL) behind one object: its connection pool and its repositories."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from pathlib import Path
from typing import Self

from addresses.database_url import parse_database_url
from market.markets import Coin, Exchange, Market
from market.timeframes import Timeframe
from stores.cold.coin_records import CoinMetadata, CoinRecord, CoinRecords
from stores.cold.collectors import CollectorWish, LiveCollectors
from stores.cold.data_collections import CollectionFilter, DataCollection, DataCollections
from stores.cold.failure_logs import FailureFilter, FailureLog, FailureLogs
from stores.cold.history.archive_files import ArchiveFile, ArchiveFiles, write_archive_file
from stores.cold.history.backfills import BackfillWish, BackfillWishes, WishState
from stores.cold.history.fill_rows import Covered, Filled, FillRows, Source
from stores.cold.history.holes import (
    HOLE_STATES,
    DueLook,
    HistoryHoles,
    HoleFilter,
    HolePlace,
    HoleState,
    ListedHole,
    NotedHole,
)
from stores.cold.history.publish_log import LogBounds, LoggedVersion, PublishLog
from stores.cold.history.publishes import (
    Cursor,
    CursorMoved,
    DocumentWindow,
    HistoryPublishes,
    Publish,
    Universe,
    check_cursor,
    read_windows,
    write_publish,
)
from stores.cold.history.reading import DamagedRecord
from stores.cold.history.series import (
    Checked,
    Compacted,
    Hole,
    RangeState,
    Retained,
    Revisions,
    SeriesKey,
    SeriesRows,
    Stored,
    Versions,
)
from stores.cold.history.stored_instants import StoredInstants
from stores.cold.history.tables import HistoryTables, Snapshot
from stores.cold.listing_log import Listing, ListingLog
from stores.cold.listings import Listings, ListingState
from stores.cold.live_tables import BookRow, LiveRow, LiveTables, TickerRow, TradeRow
from stores.cold.lone_connection import LoneConnection
from stores.cold.markets import Markets, SavedMarkets
from stores.cold.migrate import MIGRATIONS
from stores.cold.overview import Overview, RecordFigures, ScheduleRow
from stores.cold.pool import (
    DATABASE_TEXT,
    LASTING_TEXTS,
    DatabasePool,
    DatabaseRefuses,
    DatabaseUnavailable,
    Pool,
    PoolOfOneRun,
)
from stores.cold.providers.tables import ProviderTables
from stores.cold.replica import REPLICA_TEXT, ReplicaPool, lag_s, stored_versions
from stores.cold.session_lock import SessionLock
from stores.cold.workers.config import WorkerConfig
from stores.cold.workers.log import ExecutionLog, LogFilter, LogLine, NewLine
from stores.cold.workers.queues import QueueRow, QueueRows
from stores.cold.workers.rounds import WorkerRounds
from stores.cold.workers.rows import WorkerRow, WorkerRows
from stores.cold.workers.run_rows import RunFilter, RunRow, RunRows
from stores.cold.workers.runs import WorkerRuns
from stores.cold.workers.streams import WorkerStreams

__all__ = [
    "DATABASE_TEXT",
    "HOLE_STATES",
    "LASTING_TEXTS",
    "REPLICA_TEXT",
    "ArchiveFile",
    "ArchiveFiles",
    "BackfillWish",
    "BackfillWishes",
    "BookRow",
    "Checked",
    "CoinMetadata",
    "CoinRecord",
    "CollectionFilter",
    "CollectorWish",
    "Compacted",
    "Covered",
    "Cursor",
    "CursorMoved",
    "DamagedRecord",
    "DataCollection",
    "DataCollections",
    "Database",
    "DatabaseRefuses",
    "DatabaseUnavailable",
    "DocumentWindow",
    "DueLook",
    "FailureFilter",
    "FailureLog",
    "FailureLogs",
    "FillRows",
    "Filled",
    "HistoryHoles",
    "HistoryPublishes",
    "HistoryTables",
    "Hole",
    "HoleFilter",
    "HolePlace",
    "HoleState",
    "ListedHole",
    "Listing",
    "ListingLog",
    "ListingState",
    "LiveRow",
    "LiveTables",
    "LogBounds",
    "LogFilter",
    "LogLine",
    "LoggedVersion",
    "NewLine",
    "NotedHole",
    "Publish",
    "PublishLog",
    "QueueRow",
    "RangeState",
    "RecordFigures",
    "Retained",
    "Revisions",
    "RunFilter",
    "RunRow",
    "SavedMarkets",
    "ScheduleRow",
    "SeriesKey",
    "SeriesRows",
    "Snapshot",
    "Source",
    "Stored",
    "StoredInstants",
    "TickerRow",
    "TradeRow",
    "Universe",
    "Versions",
    "WishState",
    "WorkerRow",
    "check_cursor",
    "read_windows",
    "write_archive_file",
    "write_publish",
]


class Database:
    """The pool and its repositories; all their methods raise DatabaseUnavailable.

    Connections are opened when first needed and again after they were lost. `read_s` and
    `write_s` limit one call; connecting is limited separately. `dsn`: its address, with the
    password. `history_dsn`: of a replica, which
    `history_reads` and `publish_log` read. Call `aclose` when done.
    """

    def __init__(
        self,
        dsn: str,
        *,
        migrations: Path = MIGRATIONS,
        read_s: float = 5.0,
        write_s: float = 20.0,
        history_dsn: str | None = None,
    ) -> None:
        self._address = parse_database_url(dsn)
        self.dsn = dsn
        self._pool = DatabasePool(dsn, migrations, read_s=read_s, write_s=write_s)
        self._replica: ReplicaPool | None = None
        self._use(self._pool)
        self.history_reads = self.history
        self.publish_log = PublishLog(self._pool)
        self.history_name = DATABASE_TEXT.strip()
        if history_dsn is not None:
            self._replica = ReplicaPool(history_dsn, migrations, read_s=read_s, write_s=write_s)
            self.history_reads = HistoryTables(self._replica)
            self.publish_log = PublishLog(self._replica)
            self.history_name = REPLICA_TEXT.strip()

    def _use(self, pool: Pool) -> None:
        self.markets = Markets(pool)
        self.listings = Listings(pool)
        self.listing_log = ListingLog(pool)
        self.coin_records = CoinRecords(pool)
        self.live_tables = LiveTables(pool)
        self.collectors = LiveCollectors(pool)
        self.history = HistoryTables(pool)
        self.publishes = HistoryPublishes(pool)
        self.backfills = BackfillWishes(pool)
        self.archive_files = ArchiveFiles(pool)
        self.holes = HistoryHoles(pool)
        self.data_collections = DataCollections(pool)
        self.failure_logs = FailureLogs(pool)
        self.worker_runs = WorkerRuns(pool)
        self.worker_config = WorkerConfig(pool)
        self.execution_log = ExecutionLog(pool)
        self.worker_streams = WorkerStreams(pool)
        self.workers = WorkerRows(pool)
        self.run_rows = RunRows(pool)
        self.worker_rounds = WorkerRounds(pool)
        self.worker_queues = QueueRows(pool)
        self.providers = ProviderTables(pool)
        self.overview = Overview(pool)

    def for_one_run(self) -> Self:
        """The same database for the calls of one run: once one of them met no answer within its
        deadline, the others fail at once."""
        found = copy(self)
        found._use(PoolOfOneRun(self._pool))
        return found

    def lone_connection(self, name: str) -> LoneConnection:
        """A connection of its own beside the pool's; `name` is what the server's views show."""
        return LoneConnection(self._address, name)

    def session_lock(self, name: str) -> SessionLock:
        """A lock that one process of all holds while it lives; free of cost until it is taken."""
        return SessionLock(self.lone_connection(f"perpcache-{name}"), name)

    @property
    def pool(self) -> Pool:
        """The pool of the repositories, for transactions over the tables of several of them."""
        return self._pool

    async def open(self) -> None:
        """Connects and applies pending migrations, as every other method does if needed."""
        await self._pool.open()

    def listening(
        self, channel: str, heard: Callable[[str], None]
    ) -> AbstractAsyncContextManager[asyncio.Event]:
        """Calls `heard` with each notice of a channel, on a connection of its own, until the
        context ends. Gives an event that is set when the connection is lost."""
        return self._pool.listening(channel, heard)

    async def aclose(self) -> None:
        if self._replica is not None:
            await self._replica.aclose()
        await self._pool.aclose()

    async def history_lag_s(self, now_ms: int) -> float | None:
        """For how long the replica has lacked something of history that this database has; None
        without a replica."""
        if self._replica is None:
            return None
        # The replica first: what is stored in between is not lacking yet.
        replica = await stored_versions(self._replica)
        return lag_s(await stored_versions(self._pool), replica, now_ms)

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
