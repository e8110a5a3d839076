"""HEARTBEAT_URL: tells a service such as healthchecks.io that jobs complete, or that one failed.

Off the job's way: `ended` only notes what to send. Of what waits, the newest end of each state is
kept, and at most five requests a minute are sent, the limit of healthchecks.io.
"""

import asyncio
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import structlog

from addresses.proxied_requests import request_options, socks_connector
from addresses.proxy import Proxy
from logging_setup import OutageLog
from texts.foreign import cut
from texts.hidden_addresses import without_addresses
from timing.backoff import stop_or, stop_or_done, within

DEADLINE_S: Final = 10.0  # for one request
EVERY_S: Final = 12.0
LAST_S: Final = 0.5  # for what is being sent and what waits when the process stops
_LONGEST: Final = 2000  # characters of a body
_NOT_POST: Final = frozenset((404, 405))  # of services that want a GET

State = Literal["complete", "failed"]
log = structlog.get_logger(__name__)


class Heartbeat:
    """Sends to one address, until stopped."""

    def __init__(
        self,
        url: str,
        *,
        proxy: Proxy | None = None,
        deadline_s: float = DEADLINE_S,
        every_s: float = EVERY_S,
        last_s: float = LAST_S,
    ) -> None:
        """`last_s`: how long the end of `run` may take, for what is being sent and what waits."""
        self._url = url
        self._last_s = last_s
        self._proxy = proxy
        self._deadline_s = deadline_s
        self._every_s = every_s
        self._waiting: dict[State, str] = {}  # at most one of each state, in order
        self._come = asyncio.Event()
        self._outage = OutageLog(log, "heartbeat_url_failed", "heartbeat_url_answers_again")

    def ended(self, job: str, run: int, state: State, error: str | None = None) -> None:
        """Notes that a run of a job ended so; never waits and never raises."""
        told = f"{job} (run {run}): {state}"
        if error:
            told += f": {without_addresses(error)}"
        self._waiting.pop(state, None)
        self._waiting[state] = cut(told, _LONGEST)
        self._come.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Sends what was noted, until `stop`; raises nothing."""
        timeout = aiohttp.ClientTimeout(total=self._deadline_s)
        proxy, connector = self._proxy, None
        if proxy is not None and proxy.is_socks:
            connector = socks_connector(proxy, limit=1, keepalive_timeout=15)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            sending: asyncio.Task[None] | None = None
            while not await stop_or_done(stop, self._come.wait()):
                sending = asyncio.create_task(self._send_one(http), name="heartbeat")
                await stop_or_done(stop, asyncio.wait([sending]))
                await stop_or(stop, self._every_s)
            await within(self._last_s, self._send_all(http, sending))

    async def _send_all(
        self, http: aiohttp.ClientSession, sending: asyncio.Task[None] | None
    ) -> None:
        """Waits for what is being sent, and sends what waits."""
        try:
            if sending is not None:
                await sending
            while self._waiting:
                await self._send_one(http)
        finally:
            if sending is not None:
                sending.cancel()

    async def _send_one(self, http: aiohttp.ClientSession) -> None:
        """Sends the oldest that waits."""
        if not self._waiting:
            self._come.clear()
            return
        state = next(iter(self._waiting))
        body = self._waiting.pop(state)
        if not self._waiting:
            self._come.clear()
        url = self._url if state == "complete" else _failing(self._url)
        try:
            status = await self._asked(http, "POST", url, body.encode())
            if status in _NOT_POST:
                status = await self._asked(http, "GET", url, None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # The texts of such errors have the address in them.
            self._outage.failed(f"no answer: {type(error).__name__}", state=state)
            return
        if status >= 400:
            self._outage.failed(f"status {status}", state=state)
        else:
            self._outage.recovered(state=state)

    async def _asked(
        self, http: aiohttp.ClientSession, method: str, url: str, body: bytes | None
    ) -> int:
        options = request_options(self._proxy, url.partition(":")[0].lower())
        headers = {"User-Agent": "Perpcache", **options.pop("headers", {})}
        async with http.request(method, url, data=body, headers=headers, **options) as answer:
            return answer.status


def _failing(url: str) -> str:
    """The address of failures: the path with /fail."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
