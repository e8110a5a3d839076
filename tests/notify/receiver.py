"""A service that takes notifications over HTTP, as those of users do: it keeps what it was sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web


class Receiver:
    """`taken`: the JSON bodies that it answered with 200, in order. `asked`: method and path of all
    requests, `texts` their bodies; `answered` counts those whose client stayed. It answers with
    `status`; not at all while `hangs` is set."""

    def __init__(self) -> None:
        self.port = 0
        self.status = 200
        self.hangs = False
        self.taken: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.told = ""  # what it answers
        self.answered = 0
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.taken]

    async def until(self, count: int, *, asked: bool = False, within_s: float = 30) -> None:
        """Waits until it has taken, or was asked, so often."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(
                lambda: (len(self.asked) if asked else len(self.taken)) >= count
            )

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        async with self._changed:
            self.asked.append((request.method, request.path_qs))
            self.texts.append(text)
            self._changed.notify_all()
        if self.hangs:
            await self._released.wait()
        self.answered += request.transport is not None
        if self.status == 200 and request.content_type == "application/json":
            async with self._changed:
                self.taken.append(await request.json())
                self._changed.notify_all()
        return web.Response(status=self.status, text=self.told)

    def release(self) -> None:
        """Answers those that hang."""
        self.hangs = False
        self._released.set()


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.release()
        await runner.cleanup()
