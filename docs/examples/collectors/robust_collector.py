"""A handler of messages that tells lost connections from messages that are wrong."""

import asyncio

from docs.examples.collectors.local_exchange import LocalExchangeCollector, WebSocketError
from perpcache.live import DataType, DataValidationError, MarketDataPoint


class RobustCollector(LocalExchangeCollector):
    """Connects again when the connection is at fault, and only then."""

    async def _handle_messages(self) -> None:
        try:
            if not await self._check_connection_health():
                raise ConnectionError("Connection health check failed")
            message = await asyncio.wait_for(self.websocket.receive(), timeout=30.0)
            data_point = await self._process_message(message)
            if data_point:
                await self._notify_callbacks(data_point)
        except TimeoutError:
            raise ConnectionError("Message receive timeout") from None
        except WebSocketError as e:
            self.logger.error(f"WebSocket error: {e}")
            raise ConnectionError(f"WebSocket failed: {e}") from e
        except DataValidationError as e:
            # The message is at fault, not the connection: go on with the next one.
            self.logger.warning(f"Data validation failed: {e}")
        except Exception as e:
            self.logger.error(f"Unexpected error: {e}")
            raise

    async def _check_connection_health(self) -> bool:
        return self.websocket is not None and not self.websocket.closed


async def main() -> None:
    collector = RobustCollector()

    async def on_data(data_point: MarketDataPoint) -> None:
        restarts = collector.get_status()["statistics"]["restarts"]
        print(f"{data_point.symbol} after {restarts} restarts")

    collector.add_data_callback(DataType.TICKER, on_data)
    await collector.start()
    try:
        await asyncio.sleep(60)
    finally:
        await collector.stop()


if __name__ == "__main__":
    asyncio.run(main())
