"""StreamConnection: one WebSocket of a worker from its opening to its end; never opened again.

One task reads at once whatever comes, so that pings are answered while the worker's function works;
what it has not taken yet waits in memory, within limits.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

import aiohttp

from addresses.proxied_requests import request_options
from addresses.proxy import Proxy
from addresses.url import Address, parse_url
from budgets.connection_errors import public_cause
from budgets.proxies import fault_of_proxy
from budgets.sessions import open_session
from texts.foreign import foreign_text
from texts.redaction import Redactor
from workers.streams.options import StreamOptions

CLOSE_S: Final = 1.0
MOST_WAITING: Final = 10_000  # messages
MOST_BYTES_WAITING: Final = 64 * 1024 * 1024
_LONGEST_REASON: Final = 200

Message = str | bytes
_Socket = aiohttp.ClientWebSocketResponse[Literal[True]]


class StreamBroken(Exception):
    """A WebSocket could not be opened, or has ended; says why, without its address."""


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where to connect. `headers` are sent to that server alone."""

    url: str
    proxy: Proxy | None
    headers: Mapping[str, str]

    @property
    def is_encrypted(self) -> bool:
        return self.url.lower().startswith("wss:")


def check_stream_url(url: str) -> str:
    """The URL of a WebSocket, with a path and query or without. Raises ValueError, without it."""
    address = _parsed(url)
    if len(address.hosts) != 1 or not address.hosts[0][0]:
        raise ValueError("names no host, or several: a WebSocket has one")
    if not url.isprintable() or " " in url:
        raise ValueError("has a space or a sign that cannot be printed: percent-encode it")
    return url


def _parsed(url: str) -> Address:
    """The parts of the URL before its query. Raises ValueError, without it.

    Binance's streams have an `@` in their path (btcusdt@markPrice), which parse_url takes for one
    in a password: it is allowed behind what can only be a host.
    """
    scheme, separator, rest = url.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    if "." in authority or authority.startswith(("localhost", "[")):
        path = path.replace("@", "%40")
    return parse_url("".join((scheme, separator, authority, slash, path)), "ws", "wss")


class StreamConnection:
    """An open WebSocket. Call `close` when done with it."""

    def __init__(
        self, session: aiohttp.ClientSession, socket: _Socket, options: StreamOptions
    ) -> None:
        self._session = session
        self._socket = socket
        self._options = options
        self._waiting: deque[tuple[float, Message]] = deque()
        self._bytes_waiting = 0
        self._changed = asyncio.Event()
        self._ended: str | None = None
        self._stopped = False
        self.last_message_s: float | None = None  # time.monotonic
        self.first_message_s: float | None = None
        self._tasks = [asyncio.create_task(self._read(), name="read a WebSocket")]
        if options.ping is not None:
            self._tasks.append(asyncio.create_task(self._ping(options.ping), name="ping"))

    @classmethod
    async def open(cls, address: StreamAddress, options: StreamOptions) -> Self:
        """Opens a WebSocket within `open_s`. Raises StreamBroken."""
        session = open_session(
            address.proxy,
            limit=0,
            keepalive_s=15,
            headers={},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.open_s),
            middleware=_without_redirects,
        )
        try:
            return cls(session, await _open(session, address, options), options)
        except BaseException:
            await session.close()
            raise

    @property
    def waiting(self) -> int:
        """The messages that have come and were not taken."""
        return len(self._waiting)

    @property
    def oldest_waits_s(self) -> float:
        """For how long the first of them has waited; 0 without any."""
        return time.monotonic() - self._waiting[0][0] if self._waiting else 0.0

    async def take(self) -> tuple[float, Message] | None:
        """The next message, and when it came (time.monotonic); None after `stop`. Raises
        StreamBroken once the connection has ended and all that came before was taken."""
        while not self._waiting:
            if self._stopped:
                return None
            if self._ended is not None:
                raise StreamBroken(self._ended)
            self._changed.clear()
            await self._changed.wait()
        if self._stopped:
            return None
        came_s, message = self._waiting.popleft()
        self._bytes_waiting -= len(message)
        return came_s, message

    async def send(self, message: Message) -> None:
        """Sends a text or bytes within `send_s`. Raises StreamBroken."""
        try:
            async with asyncio.timeout(self._options.send_s):
                if isinstance(message, str):
                    await self._socket.send_str(message)
                else:
                    await self._socket.send_bytes(message)
        except TimeoutError:
            self._end(f"nothing could be sent for {self._options.send_s:g} s")
            raise StreamBroken(self._ended) from None
        except (aiohttp.ClientError, OSError) as error:
            self._end(f"cannot send: {type(error).__name__}")
            raise StreamBroken(self._ended) from None

    def stop(self) -> None:
        """Lets `take` return None from now on."""
        self._stopped = True
        self._changed.set()

    async def close(self) -> None:
        """Closes the WebSocket, by force where the other side does not answer in time."""
        self._end("closed here")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass
        finally:
            await self._session.close()

    def _end(self, why: str) -> None:
        if self._ended is None:
            self._ended = why
        self._changed.set()

    async def _read(self) -> None:
        try:
            while self._ended is None:
                self._end_or_take(await self._receive())
        except TimeoutError:
            self._end(f"no message for {self._options.freshness_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            self._end(f"broken: {type(error).__name__}")

    async def _receive(self) -> aiohttp.WSMessage:
        # Around the whole of it: aiohttp's own limit begins anew with each ping of the server.
        async with asyncio.timeout(self._options.freshness_s):
            return await self._socket.receive()

    def _end_or_take(self, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.TEXT or message.type is aiohttp.WSMsgType.BINARY:
            self._take_in(message.data)
        elif message.type is aiohttp.WSMsgType.ERROR:
            self._end(_broken_by(message.data, self._options))
        else:
            self._end(_closed_how(self._socket.close_code, message))

    def _take_in(self, message: Message) -> None:
        self.last_message_s = now_s = time.monotonic()
        if self.first_message_s is None:
            self.first_message_s = now_s
        self._waiting.append((now_s, message))
        self._bytes_waiting += len(message)
        self._changed.set()
        if len(self._waiting) >= MOST_WAITING or self._bytes_waiting >= MOST_BYTES_WAITING:
            self._end(
                f"{len(self._waiting)} messages of {self._bytes_waiting} bytes wait: the worker is"
                " slower than its source"
            )

    async def _ping(self, ping: str) -> None:
        while self._ended is None:
            await asyncio.sleep(self._options.ping_s)
            try:
                await self.send(ping)
            except StreamBroken:
                return


async def _open(
    session: aiohttp.ClientSession, address: StreamAddress, options: StreamOptions
) -> _Socket:
    words = request_options(address.proxy, "https" if address.is_encrypted else "http")
    words["headers"] = {**words.get("headers", {}), **address.headers}
    parsed = _parsed(address.url)
    secrets = [secret for secret in (parsed.password, *address.headers.values()) if secret]
    try:
        async with asyncio.timeout(options.open_s):
            socket: _Socket = await session.ws_connect(
                address.url,
                heartbeat=options.heartbeat_s,
                compress=0,
                max_msg_size=options.largest_message,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                **words,
            )
            return socket
    except TimeoutError:
        raise StreamBroken(f"cannot open: no WebSocket within {options.open_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        host = parsed.hosts[0][0]
        cause = fault_of_proxy(error) or public_cause(error, host, Redactor(secrets).clean)
        raise StreamBroken(f"cannot open: {cause}") from None
    except Exception as error:  # those of SOCKS have a family of their own
        if (fault := fault_of_proxy(error)) is None:
            raise
        raise StreamBroken(f"cannot open: {fault}") from None


async def _without_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A redirect becomes an error: it could lead the headers to another server."""
    answer = await handler(request)
    if 300 <= answer.status < 400:
        answer.close()
        raise aiohttp.ClientResponseError(
            answer.request_info, answer.history, status=answer.status, message="a redirect"
        )
    return answer


def _broken_by(error: object, options: StreamOptions) -> str:
    if isinstance(error, aiohttp.WebSocketError):
        if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return f"a message is larger than {options.largest_message} bytes, its limit"
        return f"not the WebSocket protocol: {foreign_text(str(error), _LONGEST_REASON)}"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return f"no answer to a ping within {options.heartbeat_s / 2:g} s"
    return f"broken: {type(error).__name__}"


def _closed_how(code: int | None, message: aiohttp.WSMessage) -> str:
    said = foreign_text(str(message.extra or ""), _LONGEST_REASON)
    detail = f"closed by the source ({code})" if code else "closed by the source"
    return f"{detail}: {said}" if said else detail
