"""A tiny exchange on a local WebSocket, and a client of it, so that the examples need no other.

It speaks JSON: {"op": "subscribe", "symbols": [...], "types": [...]} and then, for each symbol and
type, {"symbol", "type", "timestamp", "data"} again and again.
"""

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
from aiohttp import web

from perpcache.live import BaseDataCollector, DataType, MarketDataPoint

ADDRESS = (
    "EXCHANGE_URL"  # the environment variable with the address, such as ws://127.0.0.1:9001/ws
)


class WebSocketError(Exception):
    """The connection is closed, or what came is no message."""


class Connection:
    """A client's connection."""

    def __init__(self, session: aiohttp.ClientSession, stream: aiohttp.ClientWebSocketResponse):
        self._session = session
        self._stream = stream

    @property
    def closed(self) -> bool:
        return self._stream.closed

    async def subscribe(self, symbols: Iterable[str], data_types: Iterable[DataType]) -> None:
        await self._send("subscribe", symbols, data_types)

    async def unsubscribe(self, symbols: Iterable[str], data_types: Iterable[DataType]) -> None:
        await self._send("unsubscribe", symbols, data_types)

    async def ping(self) -> None:
        await self._stream.ping()

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises WebSocketError."""
        message = await self._stream.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise WebSocketError(f"the stream ended: {message.type.name}")
        return dict(json.loads(message.data))

    async def close(self) -> None:
        await self._stream.close()
        await self._session.close()

    async def _send(
        self, operation: str, symbols: Iterable[str], data_types: Iterable[DataType]
    ) -> None:
        types = [kind.value for kind in data_types]
        await self._stream.send_json({"op": operation, "symbols": list(symbols), "types": types})


async def connect_to_exchange(url: str | None = None) -> Connection:
    """A connection to the exchange at `url`, or at that of EXCHANGE_URL."""
    session = aiohttp.ClientSession()
    try:
        stream = await session.ws_connect(url or os.environ[ADDRESS])
    except BaseException:
        await session.close()
        raise
    return Connection(session, stream)


class LocalExchangeCollector(BaseDataCollector):
    """A whole collector of the tiny exchange; examples that show one method inherit the others."""

    def __init__(
        self,
        exchange_name: str = "local",
        symbols: Iterable[str] = ("BTC-USDT",),
        data_types: Iterable[DataType] = (DataType.TICKER,),
        **options: Any,
    ) -> None:
        super().__init__(exchange_name, symbols, data_types, **options)
        self.websocket: Any = None

    async def connect(self) -> bool:
        self.websocket = await connect_to_exchange()
        return True

    async def disconnect(self) -> None:
        if self.websocket:
            await self.websocket.close()

    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        await self.websocket.subscribe(symbols, data_types)
        return True

    async def unsubscribe_from_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        await self.websocket.unsubscribe(symbols, data_types)
        return True

    async def _process_message(self, message: Any) -> MarketDataPoint | None:
        return MarketDataPoint(
            exchange=self.exchange_name,
            symbol=message["symbol"],
            timestamp=message["timestamp"],
            data_type=DataType(message["type"]),
            data=message["data"],
        )

    async def _handle_messages(self) -> None:
        message = await self.websocket.receive()
        await self._notify_callbacks(await self._process_message(message))


class LocalExchange:
    """The server: what is subscribed on each connection is sent every `every_s` seconds."""

    def __init__(self, every_s: float = 0.02) -> None:
        self._every_s = every_s
        self._streams: set[web.WebSocketResponse] = set()
        self._numbers = itertools.count(1)

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serves on 127.0.0.1 until the end of the context; the address."""
        application = web.Application()
        application.router.add_get("/ws", self._serve)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            bound = runner.addresses[0][1]
            yield f"ws://127.0.0.1:{bound}/ws"
        finally:
            await self.cut()
            await runner.cleanup()

    async def cut(self) -> None:
        """Ends all connections."""
        for stream in tuple(self._streams):
            await stream.close()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        self._streams.add(stream)
        wanted: set[tuple[str, str]] = set()
        sending = asyncio.create_task(self._send(stream, wanted))
        try:
            async for message in stream:
                told = json.loads(message.data)
                named = {(symbol, kind) for symbol in told["symbols"] for kind in told["types"]}
                change = wanted.update if told["op"] == "subscribe" else wanted.difference_update
                change(named)
        finally:
            self._streams.discard(stream)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return stream

    async def _send(self, stream: web.WebSocketResponse, wanted: set[tuple[str, str]]) -> None:
        while True:
            for symbol, kind in sorted(wanted):
                number = next(self._numbers)
                await stream.send_json(
                    {
                        "symbol": symbol,
                        "type": kind,
                        "timestamp": time.time_ns() // 1_000_000,
                        "data": {"number": number, "price": f"{100 + number % 7}.50"},
                    }
                )
            await asyncio.sleep(self._every_s)
