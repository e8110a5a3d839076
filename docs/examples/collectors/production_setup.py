"""A manager with a collector for each exchange, callbacks, and a watch that alerts."""

import asyncio

from docs.examples.collectors.exchanges import create_collector
from perpcache.live import CollectorConfig, CollectorManager, DataType, MarketDataPoint


async def process_ticker_data(data_point: MarketDataPoint) -> None:
    print(f"ticker {data_point.exchange} {data_point.symbol}")


async def process_trade_data(data_point: MarketDataPoint) -> None:
    print(f"trade {data_point.exchange} {data_point.symbol}")


async def send_alert(text: str) -> None:
    print(f"ALERT {text}")


async def setup_production_system() -> CollectorManager:
    manager = CollectorManager(
        manager_name="crypto_trading_system",
        global_health_check_interval=60.0,
        restart_delay=30.0,
    )
    exchanges = ["okx", "binance", "coinbase"]
    symbols = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "AVAX-USDT"]
    for exchange in exchanges:
        collector = create_collector(exchange, symbols)
        config = CollectorConfig(
            name=f"{exchange}_primary",
            exchange=exchange,
            symbols=symbols,
            data_types=["ticker", "trade"],
            auto_restart=True,
            health_check_interval=30.0,
            enabled=True,
        )
        collector.add_data_callback(DataType.TICKER, process_ticker_data)
        collector.add_data_callback(DataType.TRADE, process_trade_data)
        manager.add_collector(collector, config)

    success = await manager.start()
    if not success:
        await manager.stop()  # it would go on trying
        raise RuntimeError("Failed to start collector system")
    return manager


async def main() -> None:
    manager = await setup_production_system()
    try:
        while True:
            status = manager.get_status()
            if status["statistics"]["failed_collectors"] > 0:
                await send_alert(f"Collectors failed: {manager.get_failed_collectors()}")
            await asyncio.sleep(300)
    finally:
        await manager.stop()


if __name__ == "__main__":
    asyncio.run(main())
