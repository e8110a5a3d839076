"""Clients of the simulator's WebSockets, for tests: what comes is read with a deadline."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from tests.fixtures.simulator import Simulator

BINANCE: Final = "/market/stream"
BYBIT: Final = "/v5/public/linear"
_DEADLINE_S: Final = 20.0
_ENDS: Final = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


class Socket:
    """One open connection."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection
        self._number = 1000

    async def send(self, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self.connection.send_str(text)

    async def raw(self) -> aiohttp.WSMessage:
        return await asyncio.wait_for(self.connection.receive(), _DEADLINE_S)

    async def text(self) -> str:
        """The next text; a close is an AssertionError."""
        message = await self.raw()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return str(message.data)

    async def receive(self) -> Any:
        return json.loads(await self.text())

    async def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """The messages up to the first that is wanted, with it."""
        found = [await self.receive()]
        while not wanted(found[-1]):
            found.append(await self.receive())
        return found

    async def ask(self, message: dict[str, Any]) -> Any:
        """Sends a control message and returns its answer, the first message without data."""
        await self.send(message)
        return (await self.until(lambda one: not is_data(one)))[-1]

    async def all(self) -> list[Any]:
        """All that has been sent so far: what comes before the answer to a question."""
        self._number += 1
        path = str(self.connection._response.url.path)
        if path.startswith(BYBIT):
            await self.send({"op": "ping", "req_id": str(self._number)})
            found = await self.until(lambda one: one.get("req_id") == str(self._number))
        else:
            await self.send({"method": "LIST_SUBSCRIPTIONS", "id": self._number})
            found = await self.until(
                lambda one: isinstance(one, dict) and one.get("id") == self._number
            )
        return found[:-1]

    async def closed(self) -> int | None:
        """Reads on until the server ends the connection; its close code."""
        while True:
            message = await self.raw()
            if message.type in _ENDS:
                return self.connection.close_code


def is_data(message: Any) -> bool:
    return isinstance(message, list) or not ({"result", "error", "success"} & message.keys())


@asynccontextmanager
async def connected(
    simulator: Simulator, path: str = BINANCE, **options: Any
) -> AsyncIterator[Socket]:
    """A connection to one path. Options are those of aiohttp's ws_connect."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(simulator.base_url.replace("http", "ws") + path, **options) as opened,
    ):
        yield Socket(opened)


@asynccontextmanager
async def subscribed(simulator: Simulator, *streams: str) -> AsyncIterator[Socket]:
    """A connection to Binance's market route or to Bybit, by the names, subscribed to them."""
    if "." in streams[0]:
        async with connected(simulator, BYBIT) as socket:
            await socket.send({"op": "subscribe", "req_id": "1", "args": streams})
            answer = await socket.receive()
            assert answer["success"], answer
            yield socket
    else:
        async with connected(simulator, BINANCE) as socket:
            await socket.send({"method": "SUBSCRIBE", "params": streams, "id": 1})
            assert await socket.receive() == {"result": None, "id": 1}
            yield socket


async def moved(simulator: Simulator, **clock: object) -> int:
    """Moves the simulator's time; the time that it then shows."""
    answer = await asyncio.to_thread(simulator.post, "/sim/clock", clock)
    return int(answer["now_ms"])


async def fault(simulator: Simulator, kind: str, **settings: object) -> Any:
    return await asyncio.to_thread(simulator.post, "/sim/faults", {"kind": kind, **settings})


async def got(simulator: Simulator, path: str, **query: object) -> Any:
    return await asyncio.to_thread(lambda: simulator.get(path, **query))
