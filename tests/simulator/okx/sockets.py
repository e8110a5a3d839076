"""A client of OKX's WebSockets, for tests: what comes is read with a deadline."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from tests.fixtures.simulator import Simulator

PUBLIC: Final = "/ws/v5/public"
BUSINESS: Final = "/ws/v5/business"
_DEADLINE_S: Final = 20.0


class Socket:
    """One open connection."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection
        self.early: list[Any] = []  # messages of streams that came between answers

    async def send(self, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self.connection.send_str(text)

    async def subscribe(self, *arguments: dict[str, str], op: str = "subscribe") -> list[Any]:
        """Sends one request; its answers, one for each argument."""
        await self.send({"id": "7", "op": op, "args": arguments})
        found: list[Any] = []
        while len(found) < len(arguments):
            message = await self.receive()
            if "event" in message:
                found.append(message)
            else:
                self.early.append(message)
        return found

    async def receive(self) -> Any:
        """The next message, read; the text pong as "pong". A close is an AssertionError."""
        message = await self.raw()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return message.data if message.data == "pong" else json.loads(message.data)

    async def raw(self) -> aiohttp.WSMessage:
        return await asyncio.wait_for(self.connection.receive(), _DEADLINE_S)

    async def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """The messages up to the first that is wanted, with it."""
        found = self.early[:]
        self.early.clear()
        for place, message in enumerate(found):
            if wanted(message):
                self.early += found[place + 1 :]
                return found[: place + 1]
        while True:
            found.append(await self.receive())
            if wanted(found[-1]):
                return found

    async def closed(self) -> int | None:
        """Reads on until the server ends the connection; its close code."""
        while True:
            message = await self.raw()
            if message.type in (
                aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING
            ):  # fmt: skip
                return self.connection.close_code


@asynccontextmanager
async def connected(
    simulator: Simulator, path: str = PUBLIC, **options: Any
) -> AsyncIterator[Socket]:
    """A connection to one path. Options are those of aiohttp's ws_connect."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.base_url.replace("http", "ws") + path, **options) as opened,
    ):
        yield Socket(opened)


def argument(channel: str, symbol: str = "BTC-USDT-SWAP") -> dict[str, str]:
    return {"channel": channel, "instId": symbol}
