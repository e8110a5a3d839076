"""The exchanges' HTTP client: sends a request once, within the limits, and classifies errors.

Callers decide what to request, how to page and what to retry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

import aiohttp
import structlog
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from addresses.proxied_requests import proxy_authorization, request_options
from addresses.proxy import Proxy
from budgets.budget import Ticket
from budgets.connection_errors import private_cause, public_cause, send_once
from budgets.headers import answered_at_ms
from budgets.proxies import (
    base_url_of,
    egress_id_of,
    fault_of_proxy,
    proxy_of,
    refused_by_proxy,
)
from budgets.rate_limits import RateLimits
from budgets.refusals import judge
from budgets.request_counts import RequestCounts
from budgets.sessions import open_session
from budgets.shared_budgets import SharedBudgets
from config import Settings
from logging_setup import ThrottledLog
from market.markets import Exchange
from metrics.exchanges import ExchangeMetrics
from stores.hot.store import HotStore
from texts.redaction import Redactor
from timing.clock import Clock, SystemClock
from venues import VENUES
from venues.errors import (
    ERROR_KINDS,
    BadPayload,
    Banned,
    ExchangeError,
    RateLimited,
    SourceDown,
    TooFast,
)
from venues.venue import Endpoint, Request

REQUEST_TIMEOUT_S: Final = 10.0  # for one request, from connecting to the last byte
CONNECT_TIMEOUT_S: Final = 5.0
LARGEST_BODY: Final = 16 * 1024 * 1024  # the largest known answer, all contracts, has 2 MB
LARGEST_OF_MARKET: Final = 1024 * 1024  # of one market's rows; 1500 candles have 200 KB
# Chunks of one byte keep the event loop busy: aiohttp's parser takes some microseconds for each.
MOST_CHUNKS: Final = 10_000
_BUFFER: Final = 64 * 1024  # aiohttp parses this much, or a sixteenth as many chunks, at a stretch
_PAGE: Final = 64 * 1024  # of an error page: more than any cause repeats

_NO_HEADERS: Final[Mapping[str, str]] = CIMultiDictProxy(CIMultiDict())

Heard = Callable[[Request, bytes], None]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as it came, without our secrets. `refusal`: what it means, if it is no success."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    refusal: ExchangeError | None


class ExchangeClient:
    """Sends requests within the exchanges' limits; one for all jobs of a process.

    `store`: shares the budgets with the other processes at the same address. `limits`: shares
    the limits of another client of this process. `requests` counts everything sent, `retries`
    the repetitions among them; a CollectionRun counts those of one job. `heard` is told of each
    successful answer; it must not wait.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: HotStore | None = None,
        limits: RateLimits | None = None,
        clock: Clock | None = None,
        request_s: float = REQUEST_TIMEOUT_S,
        metrics: ExchangeMetrics | None = None,
        heard: Heard | None = None,
    ) -> None:
        self._base_urls = {exchange: base_url_of(settings, exchange) for exchange in VENUES}
        self._proxies = {exchange: proxy_of(settings, exchange) for exchange in VENUES}
        self._auth = {
            exchange: {"Authorization": aiohttp.encode_basic_auth(*credentials, encoding="utf-8")}
            for exchange in VENUES
            if (credentials := settings.base_credentials(exchange))
        }
        self._redactor = Redactor(settings.secrets())
        self._sent_secrets = {
            value.rpartition(" ")[2].encode()
            for exchange, proxy in self._proxies.items()
            for value in (
                *self._auth.get(exchange, {}).values(),
                *proxy_authorization(proxy).values(),
            )
        }
        self._request_s = request_s
        self.heard = heard
        self._local_address = settings.egress_address
        self.concurrency = settings.concurrency_limit
        clock = clock or SystemClock()
        egress = {each: egress_id_of(settings, each) for each in VENUES}
        self._shared = SharedBudgets(store, settings.egress_id, clock, egress) if store else None
        self.limits = limits or RateLimits(settings.rate_fraction, clock, self._shared)
        self.clock: Clock = self.limits.clock
        self._metrics = metrics or ExchangeMetrics()
        self.counts = RequestCounts(metrics=self._metrics)
        for exchange in settings.exchanges:
            self._watch(exchange)
        self._sessions: dict[Proxy | None, aiohttp.ClientSession] = {}  # by proxy
        self._outages = {exchange: ThrottledLog(log) for exchange in VENUES}

    def _watch(self, exchange: Exchange) -> None:
        """Registers gauges of the exchange's used limits, computed when the metrics are read."""
        limits = self.limits.for_exchange(exchange)
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
        self._sessions = {proxy: self._open(proxy) for proxy in {None, *self._proxies.values()}}
        if self._shared is not None:
            self._shared.listen(
                lambda exchange, *pause: self.limits.for_exchange(exchange).heard(*pause)
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shared is not None:
            await self._shared.aclose()
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def _open(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        # The workers bound it; a collection and a funding update may run at once.
        return open_session(
            proxy,
            limit=4 * self.concurrency,
            keepalive_s=30,
            headers={"Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=self._request_s, sock_connect=CONNECT_TIMEOUT_S),
            middleware=send_once,
            read_bufsize=_BUFFER,
            local_address=self._local_address,
        )

    async def send(
        self, request: Request, counts: RequestCounts, share: float | None = None
    ) -> bytes:
        """The body of a successful answer; else as `ask`, with every refusal raised."""
        told = await self.ask(request, counts, share)
        if told.refusal is not None:
            raise told.refusal
        return told.body

    async def ask(
        self, request: Request, counts: RequestCounts, share: float | None = None
    ) -> Told:
        """The answer, whatever it says; waits for the budget, or for room in this `share` of it
        (ExchangeLimits.admit), then makes one attempt.

        Raises ExchangeError where none came. If the answer demands a pause, it has begun before
        this returns.
        """
        session = self._sessions.get(self._proxies[request.exchange])
        if session is None:
            raise RuntimeError("ExchangeClient is not open: use it inside `async with`")
        limits = self.limits.for_exchange(request.exchange)
        asked_at = self.clock.monotonic_s()
        ticket = await limits.admit(request, share)
        waited_s = self.clock.monotonic_s() - asked_at
        self._metrics.admitted(request.exchange, request.counter, request.weight, waited_s)
        counts.requests += 1
        if counts is not self.counts:
            self.counts.requests += 1
        sent_at = self.clock.monotonic_s()
        try:
            told = await self._ask(session, request, ticket, counts)
        except ExchangeError as error:
            await self._heed(error, request, counts, sent_at)
            raise
        if told.refusal is not None:
            await self._heed(told.refusal, request, counts, sent_at)
        return told

    async def _heed(
        self, error: ExchangeError, request: Request, counts: RequestCounts, sent_at: float
    ) -> None:
        """Slows down, or pauses the exchange or one of its limits, where an answer demands it."""
        if isinstance(error, SourceDown):
            counts.add_lost_time(request, self.clock.monotonic_s() - sent_at)
        if isinstance(error, TooFast) or (isinstance(error, RateLimited) and error.by_network):
            self._slow_down(error, sent_at)
        if isinstance(error, RateLimited | Banned):
            limits = self.limits.for_exchange(request.exchange)
            pause_s = (error.until_ms - self.clock.wall_ms()) / 1000
            self._metrics.paused(request.exchange)
            is_own = isinstance(error, RateLimited) and not error.by_network
            if is_own and limits.is_of_limit(pause_s):
                self._told_slower(error, limits.slow_limit_down(request.counter, sent_at))
                return
            await limits.pause(pause_s, _pause_cause(error))
            log.warning(
                "exchange_paused",
                exchange=request.exchange,
                endpoint=request.endpoint,
                status=error.status,
                pause_s=round(pause_s, 1),
                cause=error.cause,
            )

    def _slow_down(self, error: ExchangeError, sent_at: float) -> None:
        self._told_slower(error, self.limits.for_exchange(error.exchange).slow_down(sent_at))

    @staticmethod
    def _told_slower(error: ExchangeError, per_s: float | None) -> None:
        """Logs the new pace, if it is one."""
        if per_s is not None:
            log.warning(
                "exchange_slowed_down",
                exchange=error.exchange,
                endpoint=error.endpoint,
                status=error.status,
                requests_per_s=round(per_s, 1),
                cause=error.cause,
            )

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        ticket: Ticket,
        counts: RequestCounts,
    ) -> Told:
        headers, proxy = _NO_HEADERS, self._proxies[request.exchange]
        url = URL(self._base_urls[request.exchange] + request.target, encoded=True)
        ending, sent_at = "cancelled", self.clock.monotonic_s()
        try:
            # Never send a body with GET: one exchange rejects it.
            options = request_options(proxy, url.scheme)
            own_headers = {**self._auth.get(request.exchange, {}), **options.pop("headers", {})}
            async with session.get(
                url, headers=own_headers, allow_redirects=False, **options
            ) as answer:
                headers = answer.headers
                ending = str(answer.status)
                body = await _read(answer, request)
                status = answer.status
        except TimeoutError:
            ending = "timeout"
            through = " through the proxy" if proxy is not None else ""
            cause = f"no answer{through} within {self._request_s:g} s"
            late = self._source_down(request, cause)
            late.is_late = True
            raise late from None
        except Exception as error:
            at_proxy = fault_of_proxy(error)
            if at_proxy is None and not isinstance(error, aiohttp.ClientError | OSError):
                raise
            ending = "error"
            # The address is for the log alone: the cause reaches documents, which strangers read.
            self._outages[request.exchange].warning(
                "exchange_not_reached",
                exchange=request.exchange,
                endpoint=request.endpoint,
                error=private_cause(error, self._redactor.clean),
                **({"proxy": proxy.place} if proxy is not None else {}),
            )
            cause = at_proxy or public_cause(error, url.host, self._redactor.clean)
            raise self._source_down(request, cause) from None
        finally:
            took_s = self.clock.monotonic_s() - sent_at
            self._metrics.request_ended(request.exchange, request.endpoint, ending, took_s)
            self.limits.for_exchange(request.exchange).answered(request, ticket, headers)
        if at_proxy := refused_by_proxy(status, proxy):
            raise self._source_down(request, at_proxy)
        refusal = judge(request, status, headers, body, self.clock.wall_ms())
        if refusal is not None:
            # A proxy's error page may repeat the password that it was sent; hidden before the text
            # is cut.
            page = body[:_PAGE].decode("latin-1")
            cleaned = self._redactor.clean(page)
            if cleaned != page:
                body = cleaned.encode("latin-1")
                again = judge(request, status, headers, body, self.clock.wall_ms())
                refusal.cause = again.cause if again is not None else f"HTTP {status}"
            return Told(status, headers, body, refusal)
        if any(secret in body[:_PAGE] for secret in self._sent_secrets):
            # No parser may see it, as its error would quote it.
            raise self._source_down(request, "the answer repeats the credentials that were sent")
        if request.endpoint is Endpoint.TIME:
            counts.header_time_ms[request.exchange] = answered_at_ms(headers)
        if self.heard is not None:
            self.heard(request, body)
        return Told(status, headers, body, None)

    @staticmethod
    def _source_down(request: Request, cause: str) -> SourceDown:
        return SourceDown(
            cause, exchange=request.exchange, endpoint=request.endpoint, market=request.symbol
        )


async def _read(answer: aiohttp.ClientResponse, request: Request) -> bytes:
    """The body. Raises BadPayload for one that is too large, or in too many chunks."""
    largest = LARGEST_BODY if request.symbol is None else LARGEST_OF_MARKET
    length = answer.content_length
    if answer.content.at_eof():
        return b""  # aiohttp reads an answer that cannot have a body, such as a 304, without end
    if length is not None and length <= largest and "Content-Encoding" not in answer.headers:
        return await answer.read()
    chunks = []
    size = 0
    async for chunk, _ in answer.content.iter_chunks():
        chunks.append(chunk)
        size += len(chunk)
        if size > largest or len(chunks) > MOST_CHUNKS:
            answer.close()
            most = f"{largest} bytes" if size > largest else f"{MOST_CHUNKS} chunks"
            raise BadPayload(
                f"the answer has more than {most}",
                exchange=request.exchange,
                endpoint=request.endpoint,
                market=request.symbol,
                status=answer.status,
            )
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _pause_cause(error: RateLimited | Banned) -> str:
    """The cause as others see it; it says first if the address is banned."""
    return f"banned: {error.cause}" if isinstance(error, Banned) else error.cause
