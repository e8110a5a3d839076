"""A realtime feed over a WebSocket: trades of stocks, published as they come."""

from perpcache.workers import Context, websocket

from .sources import trade


@websocket(url="wss://trades.example.com/stream", subscribe={"subscribe": "trades"})
async def trades(feed: Context) -> None:
    """Trades of stocks; TRADES_URL names another address."""
    async for message in feed.messages():
        if (found := trade(message)) is not None:
            await feed.publish(found)  # refused once another host has the worker
