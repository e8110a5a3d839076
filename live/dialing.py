"""Opens and closes WebSockets of one exchange: the address, the proxy, the pace and deadlines."""

import asyncio
from types import TracebackType
from typing import Final, Literal, Self

import aiohttp

from addresses.proxied_requests import request_options
from budgets.connection_errors import public_cause
from budgets.proxies import fault_of_proxy
from budgets.sessions import open_session
from live.errors import StreamError
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from texts.redaction import Redactor
from timing.clock import Clock

WebSocket = aiohttp.ClientWebSocketResponse[Literal[False]]

OPEN_S: Final = 10.0
SEND_S: Final = 10.0
CLOSE_S: Final = 1.0
LARGEST_MESSAGE: Final = 8 * 1024 * 1024  # the largest known, an array of all markets: 0.2 MB
TOO_MANY: Final = (403, 418, 429)  # how exchanges refuse an address that connects too often


class CannotOpen(StreamError):
    """A WebSocket could not be opened. `status`: the HTTP status of a refusal, if it was one."""

    def __init__(self, cause: str, *, exchange: str, status: int | None = None) -> None:
        super().__init__(cause, exchange=exchange)
        self.status = status

    @property
    def is_too_many(self) -> bool:
        return self.status in TOO_MANY


class Dialer:
    """Opens the WebSockets of one exchange; one for all connections of a pool."""

    def __init__(
        self, exchange: str, address: ExchangeAddress, connects: SharedPace, clock: Clock,
        *, open_s: float = OPEN_S, send_s: float = SEND_S, close_s: float = CLOSE_S,
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._address = address
        self._connects = connects
        self._clock = clock
        self._redactor = Redactor(address.secrets)
        self._session: aiohttp.ClientSession | None = None
        self._open_s = open_s
        self._send_s = send_s
        self._close_s = close_s

    async def __aenter__(self) -> Self:
        self._session = open_session(
            self._address.proxy,
            limit=0,
            keepalive_s=15,
            headers={},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._open_s),
            middleware=_without_redirects,
            local_address=self._address.local_address,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def open(self, path: str) -> WebSocket:
        """Opens a WebSocket, when the pace of connects allows it. Raises CannotOpen."""
        if self._session is None:
            raise RuntimeError("the dialer is not open")
        await self._clock.sleep(self._connects.reserve(self._clock.monotonic_s()))
        options = request_options(
            self._address.proxy, "https" if self._address.is_encrypted else "http"
        )
        options["headers"] = {**options.get("headers", {}), **self._address.headers}
        try:
            async with asyncio.timeout(self._open_s):
                socket: WebSocket = await self._session.ws_connect(
                    self._address.base_url + path,
                    decode_text=False,
                    compress=0,
                    max_msg_size=LARGEST_MESSAGE,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._close_s),
                    **options,
                )
                return socket
        except TimeoutError:
            raise self._cannot_open(f"no WebSocket within {self._open_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            status = error.status if isinstance(error, aiohttp.ClientResponseError) else None
            cause = fault_of_proxy(error) or public_cause(error, None, self._redactor.clean)
            raise self._cannot_open(cause, status) from None

    def _cannot_open(self, cause: str, status: int | None = None) -> CannotOpen:
        return CannotOpen(f"cannot open a WebSocket: {cause}", exchange=self._exchange,
                          status=status)  # fmt: skip

    async def send(self, socket: WebSocket, text: str) -> None:
        """Sends a text message. Raises TimeoutError, aiohttp.ClientError or OSError."""
        async with asyncio.timeout(self._send_s):
            await socket.send_str(text)

    async def close(self, socket: WebSocket) -> None:
        """Closes a WebSocket, by force where the other side does not answer in time."""
        try:
            async with asyncio.timeout(self._close_s):
                await socket.close()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass


async def _without_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turns a redirect, which no exchange uses for streams, into an error."""
    answer = await handler(request)
    if 300 <= answer.status < 400:
        answer.close()
        raise aiohttp.ClientResponseError(
            answer.request_info, answer.history, status=answer.status, message="a redirect"
        )
    return answer
