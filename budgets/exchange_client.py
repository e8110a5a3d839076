"""The HTTP client that asks the exchanges: each request once, within their limits, and judged.

What is asked, how pages are followed and what is tried again is decided by its callers.
"""

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

import aiohttp
import structlog
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from budgets.budget import Ticket
from budgets.rate_limits import RateLimits
from budgets.refusals import judge
from budgets.request_counts import RequestCounts
from budgets.shared_budgets import SharedBudgets
from config import Settings
from market.markets import Exchange
from metrics.exchanges import ExchangeMetrics
from stores.hot.store import HotStore
from timing.clock import Clock, SystemClock
from venues import VENUES
from venues.errors import (
    BadPayload,
    BadRequest,
    Banned,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.venue import Endpoint, Request

REQUEST_S: Final = 10.0  # for one request, from connecting to the last byte
CONNECT_S: Final = 5.0
LARGEST_BODY: Final = 16 * 1024 * 1024  # the largest known, a list of all contracts, has 2 MB
_PIECE: Final = 256 * 1024
ERROR_KINDS: Final = tuple(
    kind.__name__
    for kind in (
        *(SourceDown, BadPayload, RateLimited, Banned),
        *(Restricted, SymbolGone, WindowRefused, BadRequest),
    )
)

_NO_HEADERS: Final[Mapping[str, str]] = CIMultiDictProxy(CIMultiDict())

log = structlog.get_logger(__name__)


class ExchangeClient:
    """Asks the exchanges within their limits; one for all jobs of a process.

    `store`: where the budgets are shared with other processes behind the same address.
    `limits`: those of another client of this process, to be shared with it. Counts what it sent
    in `requests` and what of it was a repetition in `retries`; a CollectionRun counts for one job.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: HotStore | None = None,
        limits: RateLimits | None = None,
        clock: Clock | None = None,
        request_s: float = REQUEST_S,
        metrics: ExchangeMetrics | None = None,
    ) -> None:
        self._base_urls = {
            exchange: settings.base_url(exchange) or venue.base_url
            for exchange, venue in VENUES.items()
        }
        self._request_s = request_s
        self.concurrency = settings.concurrency_limit
        clock = clock or SystemClock()
        self._shared = SharedBudgets(store, settings.egress_id, clock) if store else None
        self.limits = limits or RateLimits(settings.rate_fraction, clock, self._shared)
        self.clock: Clock = self.limits.clock
        self._metrics = metrics or ExchangeMetrics()
        self.counts = RequestCounts(metrics=self._metrics)
        for exchange in settings.exchanges:
            self._watch(exchange)
        self._session: aiohttp.ClientSession | None = None

    def _watch(self, exchange: Exchange) -> None:
        """Lets the metrics tell what is used of the exchange's limits whenever they are read."""
        limits = self.limits.of(exchange)
        self._metrics.watch_exchange(exchange, list(Endpoint), ERROR_KINDS)
        self._metrics.watch_pause(exchange, limits.pause_left_s)
        for counter, budget in limits.budgets.items():
            used = partial(limits.used, counter)
            self._metrics.watch_limit(exchange, counter, budget.quantity, used)

    @property
    def requests(self) -> int:
        return self.counts.requests

    @property
    def retries(self) -> int:
        return self.counts.retries

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Bounded by the workers; a collection and funding run side by side.
            connector=aiohttp.TCPConnector(limit=4 * self.concurrency, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": "perpcache"},
            timeout=aiohttp.ClientTimeout(total=self._request_s, sock_connect=CONNECT_S),
            middlewares=(_send_once,),
        )
        if self._shared is not None:
            self._shared.listen(lambda exchange, *pause: self.limits.of(exchange).heard(*pause))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shared is not None:
            await self._shared.aclose()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        """The body of one successful answer; one attempt, once the budget allows it.

        Raises ExchangeError. An answer that asks for a pause has begun it before this returns.
        """
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with`")
        limits = self.limits.of(request.exchange)
        asked_at = self.clock.monotonic_s()
        ticket = await limits.admit(request)
        waited_s = self.clock.monotonic_s() - asked_at
        self._metrics.admitted(request.exchange, request.counter, request.weight, waited_s)
        counts.requests += 1
        if counts is not self.counts:
            self.counts.requests += 1
        sent_at = self.clock.monotonic_s()
        try:
            return await self._ask(self._session, request, ticket)
        except SourceDown:
            counts.lost(request, self.clock.monotonic_s() - sent_at)
            raise
        except (RateLimited, Banned) as error:
            pause_s = (error.until_ms - self.clock.wall_ms()) / 1000
            self._metrics.paused(request.exchange)
            await limits.pause(pause_s, error.cause)
            log.warning(
                "exchange_paused",
                exchange=request.exchange,
                endpoint=request.endpoint,
                status=error.status,
                pause_s=round(pause_s, 1),
                cause=error.cause,
            )
            raise

    async def _ask(self, session: aiohttp.ClientSession, request: Request, ticket: Ticket) -> bytes:
        headers = _NO_HEADERS
        url = URL(self._base_urls[request.exchange] + request.target, encoded=True)
        ending, sent_at = "cancelled", self.clock.monotonic_s()
        try:
            # A GET never has a body here: one exchange refuses it.
            async with session.get(url, allow_redirects=False) as answer:
                headers = answer.headers
                ending = str(answer.status)
                body = await _read(answer, request)
                status = answer.status
        except TimeoutError:
            ending = "timeout"
            raise self._down(request, f"no answer within {self._request_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            ending = "error"
            raise self._down(request, _cause(error)[:200]) from None
        finally:
            took_s = self.clock.monotonic_s() - sent_at
            self._metrics.asked(request.exchange, request.endpoint, ending, took_s)
            self.limits.of(request.exchange).answered(request, ticket, headers)
        refusal = judge(request, status, headers, body, self.clock.wall_ms())
        if refusal is not None:
            raise refusal
        return body

    @staticmethod
    def _down(request: Request, cause: str) -> SourceDown:
        return SourceDown(
            cause, exchange=request.exchange, endpoint=request.endpoint, market=request.symbol
        )


class _ConnectionBroke(aiohttp.ClientError):
    """What aiohttp does not answer by sending the request again; its cause is the real error."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Otherwise aiohttp sends a GET a second time when the connection breaks, past our budget and
    our counting."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _ConnectionBroke from error


def _cause(error: BaseException) -> str:
    if isinstance(error, _ConnectionBroke) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


async def _read(answer: aiohttp.ClientResponse, request: Request) -> bytes:
    length = answer.content_length
    if length is not None and length <= LARGEST_BODY and "Content-Encoding" not in answer.headers:
        return await answer.read()
    pieces = []
    size = 0
    while piece := await answer.content.read(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_BODY:
            answer.close()
            raise BadPayload(
                f"an answer of more than {LARGEST_BODY} bytes",
                exchange=request.exchange,
                endpoint=request.endpoint,
                market=request.symbol,
                status=answer.status,
            )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
