"""A collector whose HTTP session has a pool of connections, for requests beside the stream."""

import asyncio
from typing import Any

import aiohttp

from docs.examples.collectors.local_exchange import LocalExchangeCollector
from perpcache.live import DataType, MarketDataPoint


class PooledCollector(LocalExchangeCollector):
    """A session is made, not awaited; the stream itself is one connection, and no pool helps it."""

    connection_pool: Any = None

    async def connect(self) -> bool:
        try:
            self.connection_pool = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=10, limit_per_host=5, keepalive_timeout=300)
            )
            return await super().connect()
        except Exception:
            return False

    async def disconnect(self) -> None:
        await super().disconnect()
        if self.connection_pool:
            await self.connection_pool.close()


async def main() -> None:
    collector = PooledCollector()

    async def on_data(data_point: MarketDataPoint) -> None:
        print(f"{data_point.symbol} beside a pool of {collector.connection_pool.connector.limit}")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    try:
        await asyncio.sleep(60)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
