"""From a loop of one's own, and a status of one's own, to a collector."""

import asyncio
import time
from typing import Any

from docs.examples.collectors.local_exchange import (
    Connection,
    LocalExchangeCollector,
    connect_to_exchange,
)


class OldCollector:
    """Before: the connection, the retries and the status are all done by hand."""

    def __init__(self) -> None:
        self.websocket: Connection | None = None
        self.running = False
        self.status: dict[str, Any] = {"connected": False, "last_message": None, "error_count": 0}

    async def start(self) -> None:
        self.running = True
        while self.running:
            try:
                self.websocket = await connect_to_exchange()
                await self.listen()
            except Exception as e:
                self.status["error_count"] += 1
                print(f"Error: {e}")
                await asyncio.sleep(5)

    async def listen(self) -> None:
        raise NotImplementedError

    async def health_check(self) -> None:
        if time.time() - self.status["last_message"] > 300:
            print("No data for 5 minutes!")


class NewCollector(LocalExchangeCollector):
    """After: what is the exchange's, and nothing else. (Subscribing is inherited here.)"""

    def __init__(self) -> None:
        super().__init__("exchange", ["BTC-USDT"])

    async def connect(self) -> bool:
        self.websocket = await connect_to_exchange()
        return True

    async def _handle_messages(self) -> None:
        message = await self.websocket.receive()
        await self._notify_callbacks(await self._process_message(message))


async def main() -> None:
    collector = NewCollector()
    await collector.start()
    status = collector.get_status()
    health = collector.get_health_status()
    print(f"{status['status']}, healthy: {health['is_healthy']}")
    if not health["is_healthy"]:
        print(f"Issues: {health['issues']}")
    await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
