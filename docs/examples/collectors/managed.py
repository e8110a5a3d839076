"""Two collectors under a manager: one runs, the other waits to be enabled."""

import asyncio

from docs.examples.collectors.exchanges import BinanceCollector, OKXCollector
from perpcache.live import CollectorConfig, CollectorManager


async def main() -> None:
    manager = CollectorManager("trading_system_manager", global_health_check_interval=30.0)
    okx_collector = OKXCollector(["BTC-USDT", "ETH-USDT"])
    binance_collector = BinanceCollector(["BTC-USDT", "ETH-USDT"])

    manager.add_collector(
        okx_collector,
        CollectorConfig(
            name="okx_main",
            exchange="okx",
            symbols=["BTC-USDT", "ETH-USDT"],
            data_types=["ticker", "trade"],
            auto_restart=True,
            health_check_interval=15.0,
            enabled=True,
        ),
    )
    manager.add_collector(
        binance_collector,
        CollectorConfig(
            name="binance_backup",
            exchange="binance",
            symbols=["BTC-USDT", "ETH-USDT"],
            data_types=["ticker"],
            auto_restart=True,
            enabled=False,
        ),
    )

    await manager.start()
    try:
        while True:
            status = manager.get_status()
            print(f"Running: {len(manager.get_running_collectors())}")
            print(f"Failed: {len(manager.get_failed_collectors())}")
            print(f"Restarts: {status['statistics']['restarts_performed']}")
            await asyncio.sleep(10)
    finally:
        await manager.stop()


if __name__ == "__main__":
    asyncio.run(main())
