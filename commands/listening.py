"""The listening socket: opened once, and announced when the API answers on it."""

import asyncio
import ipaddress
import socket
from typing import Final

import structlog

from commands.errors import CannotStart
from commands.terminal import say_or_log
from config import Settings
from timing.backoff import Backoff

READY_WORDS: Final = "listening on "  # printed before the address once the API answers
_BACKLOG: Final = 2048
_READY_S: Final = 30.0
_PROBE_S: Final = 2.0
_FIRST_PROBE_S: Final = 0.05
_SLOWEST_PROBE_S: Final = 0.2
_HEALTH_REQUEST: Final = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

log = structlog.get_logger(__name__)


def listen(settings: Settings) -> socket.socket:
    """Opens our address. API processes share the socket, so a restart of one refuses no connection.

    Raises CannotStart when the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise CannotStart(
            f"cannot listen on HOST {settings.host} PORT {settings.port}: {error.strerror}"
        ) from None
    listener.setblocking(False)
    warn_if_open(settings, listener.getsockname()[0])
    return listener


def warn_if_open(settings: Settings, address: str) -> None:
    """Warns when others can reach the port and no token keeps them from starting collections."""
    token = settings.api_token and settings.api_token.get_secret_value()
    if token or ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return
    log.warning(
        "open_to_the_network_without_token",
        host=settings.host,
        reason="others can reach this address and start collections: set API_TOKEN",
    )


def address_of(listener: socket.socket) -> str:
    """The socket's address as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def announce(listener: socket.socket) -> None:
    """Prints the address once the API answers on it, or after 30 s."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READY_S
    pauses = Backoff(_FIRST_PROBE_S, _SLOWEST_PROBE_S)
    while loop.time() < deadline:
        if await _answers(*listener.getsockname()[:2]):
            break
        await asyncio.sleep(pauses.pause_s())
    address = address_of(listener)
    say_or_log(f"Perpcache: {READY_WORDS}{address} (page at {address}/ui/, documentation at /docs)")


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(_HEALTH_REQUEST)
            status = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status
