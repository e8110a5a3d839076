"""The life of one API process: uvicorn on a socket of ours, until told to stop."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from api.connections.limits import ConnectionLimits
from api.connections.protocol import ServingProtocol

_KEPT_ALIVE_S: Final = 75
_FINISH_S: Final = 1  # for the requests under way when told to stop


async def serve_app(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    limits: ConnectionLimits,
    *,
    before_end: Callable[[], Awaitable[None]],
) -> bool:
    """Answers on `listener` until `stop`; False when the application could not start.

    `limits`: how many connections it takes.
    `before_end` is awaited while connections still stand: for requests that are held.
    """
    server = _Server(
        limits,
        before_end,
        uvicorn.Config(
            app,
            interface="asgi3",
            loop="none",
            http=ServingProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whose address counts is said by TRUSTED_PROXIES, and looked up where it matters.
            proxy_headers=False,
            timeout_keep_alive=_KEPT_ALIVE_S,
            timeout_graceful_shutdown=_FINISH_S,
        ),
    )

    async def end_with_signal() -> None:
        await stop.wait()
        server.should_exit = True

    ending = asyncio.create_task(end_with_signal())
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()
    return server.started


class _Server(uvicorn.Server):
    """uvicorn's server, with signals left to us and waiting requests answered first."""

    def __init__(
        self,
        limits: ConnectionLimits,
        before_end: Callable[[], Awaitable[None]],
        config: uvicorn.Config,
    ) -> None:
        super().__init__(config)
        self.server_state = limits
        self._before_end = before_end

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._before_end()
        await super().shutdown(sockets)
