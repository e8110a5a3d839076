"""How clients reach the MCP server: standard input and output, or streamable HTTP on one address.

Over HTTP, Host and Origin are checked, so that no web page can ask through a browser (the MCP
specification's transports, security warning), and a token is asked for where there is one.
"""

import asyncio
import contextlib
import hmac
import json
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from typing import Any, Final

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

PATH: Final = "/mcp"
_LARGEST_BODY: Final = 2 * 1024 * 1024  # so that long arguments are refused in words
_SCHEMES: Final = ("http", "https")
_END_S: Final = 3

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def serve_stdio(server: MCPServer[Any], stop: asyncio.Event) -> None:
    """Serves one client on standard input and output, until it leaves or `stop`."""
    serving = asyncio.create_task(server.run_stdio_async())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done():
        serving.cancel()
        await asyncio.wait((serving,), timeout=_END_S)
    elif not serving.cancelled():
        serving.result()


async def serve_http(
    server: MCPServer[Any],
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    token: str | None,
    hosts: Sequence[str],
) -> None:
    """Serves clients at PATH until `stop`. `token`: what they send as a Bearer, if any; `hosts`:
    the names by which they may call it, with `:*` for any port."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=_LARGEST_BODY,
        transport_security=TransportSecuritySettings(
            allowed_hosts=list(hosts),
            allowed_origins=[f"{scheme}://{host}" for host in hosts for scheme in _SCHEMES],
        ),
    )
    config = uvicorn.Config(
        _guarded(app, token) if token else app,
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_END_S,
    )
    http = _Server(config)
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    http.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers: the command has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _guarded(app: App, token: str) -> App:
    """The application for those who send the token."""
    wanted = f"Bearer {token}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _may_ask(scope, wanted):
            await _refuse(send)
            return
        await app(scope, receive, send)

    return guarded


def _may_ask(scope: Scope, wanted: bytes) -> bool:
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    return len(sent) == 1 and hmac.compare_digest(sent[0], wanted)


async def _refuse(send: Send) -> None:
    body = json.dumps({"detail": "send the header Authorization: Bearer <READ_TOKEN>"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
