"""Asking of one exchange for a backfill: within a share of its budgets, and waiting out its pauses.

A collection gives up on an exchange in trouble, as others wait for it; a backfill waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from budgets.exchange_client import ExchangeClient
from budgets.request_counts import RequestCounts
from config import Settings
from data_collector.api_parser import parse_server_time
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import listing_request
from history.backfill.shares import Shares
from market.markets import Exchange
from timing.backoff import Backoff
from timing.clock import Clock
from venues.errors import (
    Banned,
    ExchangeError,
    GaveUp,
    RateLimited,
    Restricted,
    SourceDown,
    TooFast,
    TurnedAway,
)
from venues.venue import Endpoint, Request

# Troubles of the exchange, not of one market.
_TROUBLES: Final = (SourceDown, RateLimited, TooFast, Banned, Restricted, TurnedAway, GaveUp)
_FIRST_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 60.0
# An exchange that has not answered for so long is given up; the next backfill goes on with it.
PATIENCE_S: Final = 3600.0
# An ask that fails so often, while others of the same exchange are answered, is in trouble itself.
_OWN_FAILURES: Final = 3

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ExchangeGivenUp(Exception):
    """The exchange cannot be asked any more in this run; the message says why."""


def asked_at_once(settings: Settings) -> int:
    """How many pages within one limit."""
    return max(1, round(settings.concurrency_limit * settings.backfill_fraction))


class SharedSender:
    """Sends requests within a share of the budget that each of them counts against."""

    def __init__(self, client: ExchangeClient, shares: Shares) -> None:
        self._client = client
        self._shares = shares
        self.clock = client.clock
        self.concurrency = client.concurrency
        self.counts = client.counts
        self.requests = 0

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        self.requests += 1
        share = self._shares[request.exchange, request.counter]
        return await self._client.send(request, counts, share)


class Asking:
    """One exchange, asked by many at once."""

    def __init__(
        self, sender: SharedSender, exchange: Exchange, *, patience_s: float = PATIENCE_S
    ) -> None:
        self.exchange = exchange
        self._sender = sender
        self._patience_s = patience_s
        self._clock: Clock = sender.clock
        self._run = CollectionRun(sender)
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._one_waits = asyncio.Lock()
        self._failing_since: float | None = None
        self._answered = 0
        self._given_up: ExchangeGivenUp | None = None

    async def ask(self, fetch: Callable[[CollectionRun], Awaitable[T]]) -> T:
        """What `fetch` returns, tried again after the exchange's pauses.

        Raises ExchangeGivenUp, and the ExchangeError of what is in trouble alone.
        """
        own = 0
        while True:
            if self._given_up is not None:
                raise self._given_up
            run, answered = self._run, self._answered
            try:
                found = await fetch(run)
            except _TROUBLES as error:
                own += self._answered > answered and isinstance(error, SourceDown)
                if own >= _OWN_FAILURES:
                    raise
                await self._wait_out(run, error)
            else:
                self._answered += 1
                self._failing_since = None
                self._backoff.reset()
                return found

    async def time_ms(self) -> int:
        """The exchange's time. Raises ExchangeGivenUp, ExchangeError."""
        request = listing_request(self.exchange, Endpoint.TIME)

        async def fetch(run: CollectionRun) -> int:
            return await fetch_simple(
                run, request, lambda body: parse_server_time(self.exchange, body)
            )

        return await self.ask(fetch)

    async def _wait_out(self, run: CollectionRun, error: ExchangeError) -> None:
        async with self._one_waits:
            if run is not self._run or self._given_up is not None:
                return  # another has waited meanwhile
            now = self._clock.monotonic_s()
            if self._failing_since is None:
                self._failing_since = now
            wait_s = self._backoff.pause_s()
            until_ms = getattr(error, "until_ms", 0)
            if until_ms:
                wait_s = max(wait_s, (until_ms - self._clock.wall_ms()) / 1000)
            too_long = now + wait_s - self._failing_since > self._patience_s
            if too_long or isinstance(error, Restricted):
                self._given_up = ExchangeGivenUp(f"{self.exchange}: {error.cause}")
                log.warning("backfill_gives_up", exchange=self.exchange, cause=str(error))
                raise self._given_up
            log.info(
                "backfill_waits",
                exchange=self.exchange,
                cause=str(error),
                seconds=round(wait_s, 1),
            )
            await self._clock.sleep(wait_s)
            self._run = CollectionRun(self._sender)
