"""What to ask a collector that does not start, restarts often, or brings no data."""

import asyncio

from docs.examples.collectors.local_exchange import LocalExchangeCollector as MyCollector
from perpcache.live import DataType, MarketDataPoint


async def will_not_start() -> None:
    """Check the address, the network, the names of symbols, and what the exchange requires."""
    collector = MyCollector(symbols=["BTC-USDT"])
    success = await collector.start()
    if not success:
        status = collector.get_status()
        print(f"Error: {status['statistics']['last_error']}")
    await collector.stop()


async def restarts_often() -> None:
    """Look for an unstable network, the exchange's limits, messages that cannot be read."""
    collector = MyCollector(symbols=["BTC-USDT"], health_check_interval=60.0, auto_restart=True)
    await collector.start()
    print(f"Errors: {collector.get_status()['statistics']['errors_by_type']}")
    await collector.stop()


async def brings_no_data() -> None:
    """Look at the callbacks' data types, the subscriptions, the parser, the exchange itself."""
    collector = MyCollector(symbols=["BTC-USDT"])
    received = asyncio.Event()
    loop = asyncio.get_running_loop()

    def debug_callback(data_point: MarketDataPoint) -> None:
        print(f"Received: {data_point}")
        loop.call_soon_threadsafe(received.set)  # plain callbacks run in a thread of their own

    collector.add_data_callback(DataType.TICKER, debug_callback)
    await collector.start()
    await asyncio.wait_for(received.wait(), 60)
    await collector.stop()


async def main() -> None:
    await will_not_start()
    await restarts_often()
    await brings_no_data()


if __name__ == "__main__":
    asyncio.run(main())
