"""PostgresTables: stores trades, tickers and books in PostgreSQL, in batches of about a second."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Final

import structlog

from database import DatabaseUnavailable, LiveRow, LiveTables
from live.data_types import DataType, MarketDataPoint
from live.outputs.plain_data import native_symbol
from live.outputs.sender import BatchSender, Limits, StoreAway
from live.outputs.table_rows import row_of
from logging_setup import OutageLog
from metrics.outputs import OutputMetrics
from timing.clock import Clock, SystemClock

LIMITS: Final = Limits(1.0, 5_000, 2_000_000, 64_000_000)
_KEEP_S: Final = 600.0  # between two looks at the partitions
_AFTER_FAILURE_S: Final = 30.0
_MOST_HELD: Final = 200_000  # values that wait for the next batch before they are rows; 50 MB
_PER_ROW: Final = 200  # bytes of memory, beside its values
_PER_VALUE: Final = 40

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
        limits: Limits = LIMITS,
        clock: Clock | None = None,
    ) -> None:
        self._tables = tables
        self._keep_days = keep_days
        self._clock = clock or SystemClock()
        self._newest: dict[tuple[str, str, DataType], MarketDataPoint] = {}
        self._held = 0
        self._replaced = 0
        self._lock = threading.Lock()
        self._outage = OutageLog(_log, "live_partitions_not_kept", "live_partitions_kept")
        self._sender: BatchSender[LiveRow] = BatchSender(
            "postgres", self._send, limits, metrics, gather=self._gather, clock=self._clock
        )

    def take(self, point: MarketDataPoint) -> None:
        try:
            if point.data_type not in (DataType.TICKER, DataType.ORDERBOOK) or not self._hold(
                point
            ):
                self._queue(point)
        except Exception as error:  # a user's own data may hold anything
            self._refuse(point, error)

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

    def _hold(self, point: MarketDataPoint) -> bool:
        """Keeps the newest of the market until the next batch; False if there is no room."""
        key = (point.exchange, native_symbol(point), point.data_type)
        size = _size(point)
        with self._lock:
            held = self._newest.get(key)
            if held is not None:
                self._replaced += 1
                if point.timestamp < held.timestamp:
                    return True
                size -= _size(held)
            elif self._held + size > _MOST_HELD:
                return False
            self._newest[key] = point
            self._held += size
            return True

    def _gather(self) -> None:
        with self._lock:
            newest, self._newest, self._held = self._newest, {}, 0
        for point in newest.values():
            try:
                self._queue(point)
            except Exception as error:
                self._refuse(point, error)

    def _queue(self, point: MarketDataPoint) -> None:
        row = row_of(point, self._clock.wall_ms())
        texts = sum(len(value) for value in row if isinstance(value, str))
        self._sender.put(row, texts + _PER_VALUE * len(row) + _PER_ROW)

    def _refuse(self, point: MarketDataPoint, error: Exception) -> None:
        self._sender.refuse(f"{point.exchange}: {point.symbol}: {point.data_type}: {error}")

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
            except Exception:  # rows are stored without it, too: it ends no output
                _log.exception("live_partitions_failed")
            await self._clock.sleep(pause_s)


def _size(point: MarketDataPoint) -> int:
    """How many values it has: a book its levels, anything else its fields."""
    sides = (point.data.get("bids", ()), point.data.get("asks", ()))
    return len(point.data) + sum(len(side) for side in sides)
