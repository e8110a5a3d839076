"""A collector with a logger of its own: okx_performance_info.log in LOG_DIR, and no line of it on
the console but warnings and errors."""

import asyncio
import time
from typing import Any

from docs.examples.collectors.local_exchange import LocalExchangeCollector
from perpcache.live import DataType, MarketDataPoint, get_logger


class CustomCollector(LocalExchangeCollector):
    """Logs how long each message took."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.performance_logger = get_logger(f"{self.exchange_name}_performance", verbose=False)

    async def _process_message(self, message: Any) -> MarketDataPoint | None:
        start_time = time.time()
        try:
            result = await super()._process_message(message)
            processing_time = time.time() - start_time
            self.performance_logger.info(f"Message processed in {processing_time:.3f}s")
            return result
        except Exception as e:
            self.performance_logger.error(
                f"Processing failed after {time.time() - start_time:.3f}s: {e}"
            )
            raise


async def main() -> None:
    collector = CustomCollector("okx", ["BTC-USDT"])

    async def on_data(data_point: MarketDataPoint) -> None:
        print(f"{data_point.symbol}: {data_point.data['price']}")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    try:
        await asyncio.sleep(60)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
