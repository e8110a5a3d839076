"""A collector of one's own: how it connects, subscribes and reads; the base class does the rest."""

import asyncio
from typing import Any

from docs.examples.collectors.local_exchange import connect_to_exchange
from perpcache.live import BaseDataCollector, DataType, MarketDataPoint

RUN_FOR_S = 60


class MyExchangeCollector(BaseDataCollector):
    """Tickers of my exchange."""

    def __init__(self, symbols: list[str]) -> None:
        super().__init__("my_exchange", symbols, [DataType.TICKER])
        self.websocket: Any = None

    async def connect(self) -> bool:
        try:
            self.websocket = await connect_to_exchange()
            return True
        except Exception:
            return False

    async def disconnect(self) -> None:
        if self.websocket:
            await self.websocket.close()

    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        try:
            await self.websocket.subscribe(symbols, data_types)
            return True
        except Exception:
            return False

    async def unsubscribe_from_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        try:
            await self.websocket.unsubscribe(symbols, data_types)
            return True
        except Exception:
            return False

    async def _process_message(self, message: Any) -> MarketDataPoint:
        return MarketDataPoint(
            exchange=self.exchange_name,
            symbol=message["symbol"],
            timestamp=message["timestamp"],
            data_type=DataType.TICKER,
            data=message["data"],
        )

    async def _handle_messages(self) -> None:
        message = await self.websocket.receive()  # what it raises makes the base connect again
        data_point = await self._process_message(message)
        await self._notify_callbacks(data_point)


async def main() -> None:
    collector = MyExchangeCollector(["BTC-USDT", "ETH-USDT"])

    def on_data(data_point: MarketDataPoint) -> None:
        print(f"Received: {data_point.symbol} - {data_point.data}")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    try:
        await asyncio.sleep(RUN_FOR_S)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
