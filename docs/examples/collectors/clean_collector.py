"""A collector that lets go of everything when it disconnects; its callbacks come back."""

import asyncio
from typing import Any

from docs.examples.collectors.local_exchange import LocalExchangeCollector
from perpcache.live import DataType, MarketDataPoint


class CleanCollector(LocalExchangeCollector):
    """Keeps the latest messages for a look, and nothing after it has disconnected."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.message_buffer: list[MarketDataPoint] = []

    async def disconnect(self) -> None:
        self.message_buffer.clear()
        if self.websocket:
            await self.websocket.close()
            self.websocket = None
        for callback_list in self._data_callbacks.values():
            callback_list.clear()
        await super().disconnect()

    async def _notify_callbacks(self, data_point: MarketDataPoint | None) -> None:
        if data_point is not None:
            self.message_buffer = [*self.message_buffer[-99:], data_point]
        await super()._notify_callbacks(data_point)


async def main() -> None:
    collector = CleanCollector()

    async def on_data(data_point: MarketDataPoint) -> None:
        restarts = collector.get_status()["statistics"]["restarts"]
        print(f"{data_point.symbol} after {restarts} restarts")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    await asyncio.sleep(0.2)
    await collector.restart()
    try:
        await asyncio.sleep(60)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
