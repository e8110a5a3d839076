"""`mcp`: the tools of mcp_tools/ for language models, over standard input and output or HTTP."""

import argparse
import asyncio
import importlib.util
import ipaddress
import socket
from typing import Final

import aiohttp
from yarl import URL

from api.version import read_version
from commands.errors import EXIT_COMPLETE, CannotStart, CommandError
from commands.listening import address_of
from commands.terminal import say_or_log
from config import Settings
from mcp_tools.api_client import ApiClient

_MISSING: Final = (
    "mcp: the package mcp is not installed: install requirements-mcp.txt"
    " (.venv/bin/python -m pip install --require-hashes -r requirements-mcp.txt)"
)
_HOME: Final = "127.0.0.1"
_OWN_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with


class McpError(CommandError):
    """The command was called with what it cannot use."""


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Serves until the client leaves or `stop`. Raises McpError, CannotStart."""
    if importlib.util.find_spec("mcp") is None:
        raise CannotStart(_MISSING)
    # Imported here: they need the package.
    from mcp_tools.server import build_server
    from mcp_tools.transports import PATH, serve_http, serve_stdio

    url = _service(settings, arguments.url)
    token = settings.read_token.get_secret_value() if settings.read_token else None
    async with aiohttp.ClientSession(trust_env=False) as session:
        server = build_server(ApiClient(session, url, token), read_version())
        if arguments.http is None:
            await serve_stdio(server, stop)
            return EXIT_COMPLETE
        host, port = _address(arguments.http)
        with _listen(host, port, has_token=token is not None) as listener:
            say_or_log(f"Perpcache MCP: listening on {address_of(listener)}{PATH} (asks {url})")
            names = _names(settings, host)
            await serve_http(server, listener, stop, token=token, hosts=names)
    return EXIT_COMPLETE


def _service(settings: Settings, url: str | None) -> str:
    if url is None:
        host = _HOME if settings.host in _ANYWHERE else settings.host
        return f"http://{_in_url(host)}:{settings.port}"
    try:
        found = URL(url)
        is_usable = found.scheme in ("http", "https") and bool(found.host)
    except ValueError:
        is_usable = False
    if not is_usable or found.user or found.password or found.query_string or found.fragment:
        raise McpError("mcp: --url must be like http://127.0.0.1:8000, without name or password")
    return url


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _HOME
    if not (port.isdecimal() and 0 <= int(port[:6]) <= 65_535):
        raise McpError(f"mcp: --http must be a port or HOST:PORT, such as 8100: {text!r}")
    return host, int(port)


def _listen(host: str, port: int, *, has_token: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        if not has_token and not ipaddress.ip_address(address[0]).is_loopback:
            raise McpError(
                f"mcp: {host} is open to other machines: set READ_TOKEN, which clients then send,"
                " or leave the host out"
            )
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def _names(settings: Settings, host: str) -> list[str]:
    """By which it may be called: as the machine itself, as it listens, and as ALLOWED_HOSTS say."""
    own = [] if host in _ANYWHERE else [_in_url(host)]
    names = dict.fromkeys((*_OWN_NAMES, *own, *settings.allowed_hosts))
    return [each for name in names for each in (name, f"{name}:*")]
