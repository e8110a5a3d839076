"""Runs an ASGI application with uvicorn on a given socket until a stop event."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from api.connections.limits import ConnectionLimits
from api.connections.protocol import ServingProtocol

_KEEP_ALIVE_S: Final = 75
_FINISH_S: Final = 1  # for the requests in progress at the stop


async def serve_app(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    limits: ConnectionLimits,
    *,
    before_end: Callable[[], Awaitable[None]],
) -> bool:
    """Serves on `listener` until `stop`; False if the application could not start.

    `before_end` is awaited before connections are closed, to answer long polls.
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
            # api/client_address.py reads X-Forwarded-For, by TRUSTED_PROXIES.
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_FINISH_S,
        ),
    )

    async def exit_on_stop() -> None:
        await stop.wait()
        server.should_exit = True

    ending = asyncio.create_task(exit_on_stop())
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()
    return server.started


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers; it awaits `before_end` before it shuts down."""

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
