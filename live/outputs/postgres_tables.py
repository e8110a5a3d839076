"""PostgresTables: stores trades, tickers and books in PostgreSQL, in batches of about a second."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Final

import structlog

from database import DatabaseUnavailable, LiveRow, LiveTables
from live.data_types import DataType, MarketDataPoint
from live.outputs.sender import BatchSender, Limits, StoreAway
from live.outputs.table_rows import row_of
from logging_setup import OutageLog
from metrics.outputs import OutputMetrics
from timing.clock import Clock, SystemClock

LIMITS: Final = Limits(1.0, 5_000, 2_000_000, 64_000_000)
_KEEP_S: Final = 600.0  # between two looks at the partitions
_AFTER_FAILURE_S: Final = 30.0
_MOST_NEWEST: Final = 10_000  # markets of which a ticker or book waits for the next batch
_PER_ROW: Final = 200  # bytes of memory, beside its values
_PER_VALUE: Final = 55

_log = structlog.get_logger(__name__)


class PostgresTables:
    """Output `postgres`: the tables live_trades, live_tickers and live_books.

    Every trade is stored once, however often it comes. Of a market's tickers and books the newest
    of each batch is stored. Rows are kept `keep_days`, or for ever (0).
    """

    def __init__(
        self,
        tables: LiveTables,
        keep_days: int,
        metrics: OutputMetrics | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._tables = tables
        self._keep_days = keep_days
        self._clock = clock or SystemClock()
        self._newest: dict[tuple[str, str, DataType], MarketDataPoint] = {}
        self._replaced = 0
        self._lock = threading.Lock()
        self._outage = OutageLog(_log, "live_partitions_not_kept", "live_partitions_kept")
        self._sender: BatchSender[LiveRow] = BatchSender(
            "postgres", self._send, LIMITS, metrics, gather=self._gather, clock=self._clock
        )

    def take(self, point: MarketDataPoint) -> None:
        if point.data_type in (DataType.TICKER, DataType.ORDERBOOK):
            name = str(point.data.get("exchange_symbol", point.symbol))
            key = (point.exchange, name, point.data_type)
            with self._lock:
                if key in self._newest:
                    self._replaced += 1
                    self._newest[key] = point
                    return
                if len(self._newest) < _MOST_NEWEST:
                    self._newest[key] = point
                    return
        self._queue(point)

    async def run(self) -> None:
        keeping = asyncio.create_task(self._keep_partitions(), name="partitions of output postgres")
        try:
            await self._sender.run()
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    def status(self) -> dict[str, Any]:
        """As every output's; `replaced`: tickers and books of which a newer one was stored."""
        status = self._sender.status()
        status["queued"] += len(self._newest)
        return status | {"replaced": self._replaced}

    def _gather(self) -> None:
        with self._lock:
            newest, self._newest = self._newest, {}
        for point in newest.values():
            self._queue(point)

    def _queue(self, point: MarketDataPoint) -> None:
        try:
            row = row_of(point, self._clock.wall_ms())
        except Exception as error:  # a user's own data may hold anything
            self._sender.refuse(f"{point.exchange}: {point.symbol}: {point.data_type}: {error}")
            return
        texts = sum(len(value) for value in row if isinstance(value, str))
        self._sender.put(row, texts + _PER_VALUE * len(row) + _PER_ROW)

    async def _send(self, rows: Sequence[LiveRow]) -> int:
        by_table: dict[type[LiveRow], list[LiveRow]] = {}
        for row in rows:
            by_table.setdefault(type(row), []).append(row)
        taken = len(rows)
        try:
            refused = [
                each for part in by_table.values() for each in await self._tables.write(part)
            ]
        except DatabaseUnavailable as error:
            raise StoreAway(str(error)) from error
        for row, reason in refused:
            taken -= 1
            self._sender.refuse(f"{row.exchange}: {row.symbol}: {reason}")
        return taken

    async def _keep_partitions(self) -> None:
        while True:
            pause_s = _KEEP_S
            try:
                in_use = await self._tables.keep_partitions(self._keep_days)
                if in_use:
                    self._outage.failed(f"somebody uses the table: {', '.join(in_use)} not dropped")
                else:
                    self._outage.recovered()
            except DatabaseUnavailable as error:
                self._outage.failed(error)
                pause_s = _AFTER_FAILURE_S
            await self._clock.sleep(pause_s)
