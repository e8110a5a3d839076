"""A source of messages on this machine: a real WebSocket server that does what a test tells it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web


class Source:
    """`url` is its address; each worker connects to a path of its own, its name.

    With `every_s` each connection gets the numbers 1, 2, 3... as texts. `received`: what came from
    clients, by path. `refuse`: answer HTTP 503 in place of a WebSocket.
    """

    def __init__(self, every_s: float | None = None) -> None:
        self.every_s = every_s
        self.url = ""
        self.refuse = False
        self.refused = 0
        self.opened: list[str] = []  # paths, one for each WebSocket that was opened
        self.received: list[str | bytes] = []
        self.headers: list[dict[str, str]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.changed = asyncio.Condition()

    async def tell(self, message: str | bytes) -> None:
        """Sends a message over all WebSockets that are open."""
        for socket in self.sockets:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)

    async def cut(self) -> None:
        """Closes all WebSockets."""
        for socket in list(self.sockets):
            await socket.close(code=1012, message=b"restarting")

    async def until_open(self, times: int = 1) -> None:
        """Waits until so many WebSockets have been opened in all, and the last one still is."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.opened) >= times and self.sockets)

    async def until_received(self, count: int) -> list[str | bytes]:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.refuse:
            self.refused += 1
            await self._tell_change()
            return web.Response(status=503, text="not now")
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self.opened.append(request.path_qs.strip("/"))
        self.headers.append(dict(request.headers))
        self.sockets.append(socket)
        await self._tell_change()
        numbers = asyncio.create_task(self._number(socket))
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.received.append(message.data)
                    await self._tell_change()
        finally:
            self.sockets.remove(socket)
            numbers.cancel()
            await asyncio.gather(numbers, return_exceptions=True)
        return socket

    async def _tell_change(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _number(self, socket: web.WebSocketResponse) -> None:
        if self.every_s is None:
            return
        number = 0
        with contextlib.suppress(ConnectionError):
            while True:
                number += 1
                await socket.send_str(str(number))
                await asyncio.sleep(self.every_s)


@contextlib.asynccontextmanager
async def serving(source: Source) -> AsyncIterator[Source]:
    application = web.Application()
    application.router.add_get("/{worker:.*}", source.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    source.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield source
    finally:
        await source.cut()
        await runner.cleanup()
