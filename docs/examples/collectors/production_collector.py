"""A collector with connections from a pool, a limit of its own requests, and checks of messages."""

import asyncio
from collections import Counter
from typing import Any

from docs.examples.collectors.local_exchange import Connection, connect_to_exchange
from perpcache.live import BaseDataCollector, DataType, MarketDataPoint


class RateLimiter:
    """At most `most` requests in `window_s` seconds. Only what we send is limited: one market alone
    may send more messages than that."""

    def __init__(self, most: int, window_s: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._window_s = window_s

    async def acquire(self) -> None:
        await self._free.acquire()
        asyncio.get_running_loop().call_later(self._window_s, self._free.release)


class DataValidator:
    """Messages without a symbol or a time are left out."""

    def validate(self, message: dict[str, Any]) -> bool:
        return bool(message.get("symbol")) and isinstance(message.get("timestamp"), int)


class MetricsCollector:
    """Counts by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def increment(self, name: str) -> None:
        self.counts[name] += 1


class ConnectionPool:
    """Connections that are made when they are needed. A stream is one connection, and holds it."""

    def __init__(self, connections: list[Connection]) -> None:
        self.connections = connections

    async def ping(self) -> None:
        for connection in self.connections:
            await connection.ping()

    async def close(self) -> None:
        for connection in self.connections:
            await connection.close()


async def create_connection_pool(
    exchange: str, max_connections: int, retry_attempts: int
) -> ConnectionPool:
    for attempt in range(1, retry_attempts + 1):
        try:
            return ConnectionPool([await connect_to_exchange()])
        except OSError:
            if attempt == retry_attempts:
                raise
    raise ConnectionError(f"{exchange}: none of {max_connections} connections was made")


class ProductionCollector(BaseDataCollector):
    """Tickers and trades."""

    def __init__(self, exchange_name: str, symbols: list[str]) -> None:
        super().__init__(
            exchange_name=exchange_name,
            symbols=symbols,
            data_types=[DataType.TICKER, DataType.TRADE],
            auto_restart=True,
            health_check_interval=30.0,
        )
        self.connection_pool: Any = None
        self.rate_limiter = RateLimiter(100, 60)
        self.data_validator = DataValidator()
        self.metrics = MetricsCollector()

    async def connect(self) -> bool:
        try:
            self.connection_pool = await create_connection_pool(
                self.exchange_name, max_connections=5, retry_attempts=3
            )
            await self.connection_pool.ping()
            return True
        except Exception as e:
            self.logger.error(f"Connection failed: {e}")
            return False

    async def disconnect(self) -> None:
        if self.connection_pool:
            await self.connection_pool.close()

    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        await self.rate_limiter.acquire()
        await self.connection_pool.connections[0].subscribe(symbols, data_types)
        return True

    async def unsubscribe_from_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        await self.rate_limiter.acquire()
        await self.connection_pool.connections[0].unsubscribe(symbols, data_types)
        return True

    async def _process_message(self, message: Any) -> MarketDataPoint | None:
        try:
            if not self.data_validator.validate(message):
                self.logger.warning(f"Invalid message: {message}")
                return None
            self.metrics.increment("messages_processed")
            return MarketDataPoint(
                exchange=self.exchange_name,
                symbol=message["symbol"],
                timestamp=self._parse_timestamp(message["timestamp"]),
                data_type=DataType.TICKER,
                data=self._normalize_data(message),
            )
        except Exception as e:
            self.metrics.increment("processing_errors")
            self.logger.error(f"Message processing failed: {e}")
            raise  # the base connects again

    async def _handle_messages(self) -> None:
        message = await self.connection_pool.connections[0].receive()
        await self._notify_callbacks(await self._process_message(message))

    def _parse_timestamp(self, timestamp: int) -> Any:
        return timestamp  # MarketDataPoint takes UTC milliseconds

    def _normalize_data(self, message: dict[str, Any]) -> dict[str, Any]:
        return dict(message["data"])


async def main() -> None:
    collector = ProductionCollector("my_exchange", ["BTC-USDT"])

    async def on_data(data_point: MarketDataPoint) -> None:
        print(f"{data_point.symbol}: {collector.metrics.counts['messages_processed']}")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    try:
        await asyncio.sleep(60)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
