"""ExchangeRest: the few REST requests that collectors need, at a pace far below the limits."""

import asyncio
from types import TracebackType
from typing import Final, Self

import aiohttp

from addresses.proxied_requests import request_options
from budgets.connection_errors import public_cause, send_once
from budgets.proxies import fault_of_proxy
from budgets.sessions import open_session
from live.errors import StreamError
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from texts.redaction import Redactor
from timing.clock import Clock

REQUEST_S: Final = 10.0
# A snapshot of an order book weighs 20 of the 2,400 that Binance allows a minute; the rest is left
# to whoever else asks from this address.
REQUESTS_A_MINUTE: Final = 20
LARGEST_BODY: Final = 4 * 1024 * 1024
PAUSE_S: Final = 60.0  # after a refusal that does not say for how long
LONGEST_PAUSE_S: Final = 600.0
_REFUSED: Final = (403, 418, 429)


class RestFailed(StreamError):
    """A REST request failed; trying it again later may help."""


class ExchangeRest:
    """GET requests to one exchange, one at a time; open it with `async with`."""

    def __init__(
        self, exchange: str, address: ExchangeAddress, pace: SharedPace, clock: Clock,
        *, request_s: float = REQUEST_S,
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._address = address
        self._pace = pace
        self._clock = clock
        self._request_s = request_s
        self._redactor = Redactor(address.secrets)
        self._one = asyncio.Lock()
        self._paused_until_s = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session(
            self._address.proxy,
            limit=1,
            keepalive_s=15,
            headers={"Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=self._request_s),
            middleware=send_once,
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

    async def get(self, path: str, symbol: str | None = None) -> bytes:
        """The body of a successful answer, when the pace allows it. Raises RestFailed."""
        async with self._one:
            now = self._clock.monotonic_s()
            pause_s = max(self._pace.reserve(now), self._paused_until_s - now)
            await self._clock.sleep(pause_s)
            try:
                return await self._ask(path)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                cause = fault_of_proxy(error) or public_cause(error, None, self._redactor.clean)
            except _Refused as refused:
                cause = str(refused)
        raise RestFailed(cause, exchange=self._exchange, symbol=symbol)

    async def _ask(self, path: str) -> bytes:
        if self._session is None:
            raise _Refused("the client is closed")
        base_url = self._address.base_url
        options = request_options(self._address.proxy, base_url.partition(":")[0])
        options["headers"] = {**options.get("headers", {}), **self._address.headers}
        async with self._session.get(base_url + path, allow_redirects=False, **options) as answer:
            if answer.status in _REFUSED:
                self._pause(answer.headers.get("Retry-After", ""))
            if answer.status != 200:
                raise _Refused(f"HTTP {answer.status}")
            body = await answer.content.read(LARGEST_BODY + 1)
            while len(body) <= LARGEST_BODY and not answer.content.at_eof():
                body += await answer.content.read(LARGEST_BODY + 1 - len(body))
            if len(body) > LARGEST_BODY:
                raise _Refused(f"the answer has more than {LARGEST_BODY} bytes")
            return body

    def _pause(self, retry_after: str) -> None:
        told = retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 6
        pause_s = min(max(float(retry_after), 1.0), LONGEST_PAUSE_S) if told else PAUSE_S
        self._paused_until_s = self._clock.monotonic_s() + pause_s


class _Refused(Exception):
    """The answer is of no use, and why."""
