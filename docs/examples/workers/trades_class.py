"""The realtime feed of trades.py as a class."""

from typing import Any

from perpcache.workers import WebSocketBaseWorker, websocket

from .sources import trade


@websocket(url="wss://trades.example.com/stream")
class TradesWorker(WebSocketBaseWorker):
    """Trades of stocks; TRADES_WORKER_URL names another address."""

    async def on_open(self) -> None:
        await self.send('{"subscribe":"trades"}')

    async def on_message(self, message: str | bytes) -> dict[str, Any] | None:
        return trade(message)  # published, unless it is None

    async def on_close(self, why: str) -> None:
        self.log.info("trades_closed", why=why)

    async def on_error(self, error: Exception) -> None:
        self.log.warning("trades_failed", error=str(error))
