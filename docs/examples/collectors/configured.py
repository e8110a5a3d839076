"""Every option of collectors, of a manager, and of a collector in a manager."""

import asyncio

from docs.examples.collectors.local_exchange import LocalExchangeCollector as MyCollector
from perpcache.live import CollectorConfig, CollectorManager, DataType


async def main() -> None:
    # It notices failures within 30 s, connects again after pauses that grow, reports an error after
    # MAX_RECONNECT_ATTEMPTS of them, and goes on.
    failing_well = MyCollector(
        symbols=["BTC-USDT"],
        auto_restart=True,
        health_check_interval=30.0,
    )

    collector = MyCollector(
        exchange_name="custom_exchange",
        symbols=["BTC-USDT", "ETH-USDT"],
        data_types=[DataType.TICKER, DataType.TRADE],
        auto_restart=True,
        health_check_interval=15.0,
    )

    manager = CollectorManager(
        manager_name="production_manager",
        global_health_check_interval=30.0,
        restart_delay=10.0,
    )

    config = CollectorConfig(
        name="primary_okx",
        exchange="okx",
        symbols=["BTC-USDT", "ETH-USDT", "SOL-USDT"],
        data_types=["ticker", "trade", "orderbook"],
        auto_restart=True,
        health_check_interval=20.0,
        enabled=True,
    )
    manager.add_collector(collector, config)
    manager.add_collector(failing_well)

    await manager.start()
    try:
        for name in manager.list_collectors():
            print(name, manager.get_collector_status(name))
    finally:
        await manager.stop()


if __name__ == "__main__":
    asyncio.run(main())
