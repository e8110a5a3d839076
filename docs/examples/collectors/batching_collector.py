"""A collector that handles messages in batches of 100, or of what came in a second."""

import asyncio
import time
from typing import Any

from docs.examples.collectors.local_exchange import LocalExchangeCollector
from perpcache.live import DataType, MarketDataPoint


class BatchingCollector(LocalExchangeCollector):
    """A batch is full, or handled with the first message after its second."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.message_batch: list[dict[str, Any]] = []
        self.batch_size = 100
        self.batch_timeout = 1.0
        self.last_batch_time = time.time()

    async def _handle_messages(self) -> None:
        message = await self.websocket.receive()
        self.message_batch.append(message)
        if (
            len(self.message_batch) >= self.batch_size
            or time.time() - self.last_batch_time > self.batch_timeout
        ):
            await self._process_batch()

    async def _process_batch(self) -> None:
        batch = self.message_batch.copy()
        self.message_batch.clear()
        self.last_batch_time = time.time()
        for message in batch:
            data_point = await self._process_message(message)
            if data_point:
                await self._notify_callbacks(data_point)


async def main() -> None:
    collector = BatchingCollector()
    collector.batch_size = 10
    numbers: list[int] = []

    async def on_data(data_point: MarketDataPoint) -> None:
        numbers.append(data_point.data["number"])
        print(f"{len(numbers)} messages, the latest is {numbers[-1]}")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    try:
        await asyncio.sleep(60)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
