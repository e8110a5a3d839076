"""Retries of requests to exchanges: for which errors, how often, with which backoff."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import structlog

from data_collector.api_parser import parse_maintenance
from data_collector.internal_errors import ENDS_JOB
from data_collector.run import CollectionRun
from data_collector.url_builder import listing_request
from market.markets import Exchange
from texts.foreign import foreign_text
from timing.backoff import Backoff
from venues import VENUES
from venues.errors import (
    BadPayload,
    Blocked,
    ExchangeError,
    GaveUp,
    RateLimited,
    SourceDown,
    TooFast,
)
from venues.reading import Maintenance
from venues.venue import Endpoint, Request

# Attempts of one request at most, by error. The client sets the timeout of each attempt.
TRIES: Final[Mapping[type[ExchangeError], int]] = {
    SourceDown: 5,
    BadPayload: 3,
    RateLimited: 5,
    TooFast: 5,
}
# Repeated as soon as the rate limits admit them again, which is their backoff.
_PACED: Final = (RateLimited, TooFast)
RETRY_WITHIN_S: Final = 20.0  # no attempt begins later than this after the first failure
BACKOFF_S: Final = 0.5  # doubled each time; the actual wait is random between 0 and this
LONGEST_BACKOFF_S: Final = 8.0
_LONGEST_TITLE: Final = 60  # of a maintenance

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def fetch_simple(run: CollectionRun, request: Request, parse: Callable[[bytes], T]) -> T:
    """Sends one request and parses its answer, with retries.

    Raises the last ExchangeError, or GaveUp if the run has stopped asking the endpoint.
    """
    clock = run.sender.clock
    backoff = Backoff(BACKOFF_S, LONGEST_BACKOFF_S)
    tries: Counter[type[ExchangeError]] = Counter()
    first_failure: float | None = None
    run.asked(request)
    while True:
        _check_not_skipped(run, request)
        try:
            result = await _try(run, request, parse)
        except (SourceDown, BadPayload, RateLimited, TooFast) as error:
            kind = type(error)
            paced = kind in _PACED
            tries[kind] += 1
            now = clock.monotonic_s()
            run.try_failed(request, error)
            if first_failure is None or paced:
                first_failure = now  # time spent in a pause does not count
            # Full jitter: requests that failed together must not all return together.
            wait_s = random.uniform(0, backoff.pause_s())  # noqa: S311 - not a secret
            late = now + wait_s - first_failure > RETRY_WITHIN_S
            # Retries that wait for the end of a pause are few by themselves.
            free = kind is RateLimited
            if tries[kind] >= TRIES[kind] or late or not (free or run.take_retry(request)):
                if kind is SourceDown and error.status is not None:
                    await _tell_maintenance(run, error)
                run.failed(request, error)
                raise
            log.debug("retry", cause=str(error), tries=tries.total(), wait_s=round(wait_s, 2))
            if not paced:
                await clock.sleep(wait_s)
            run.retried(request)
        except Blocked as error:
            run.failed(request, error)
            await _check_clock(run, request.exchange)
            raise
        except ExchangeError as error:
            run.failed(request, error)
            raise
        else:
            run.succeeded(request)
            return result


async def _try(run: CollectionRun, request: Request, parse: Callable[[bytes], T]) -> T:
    """One attempt. Raises ExchangeError, also for an exception that nobody expected."""
    try:
        return parse(await run.sender.send(request, run.counts))
    except ENDS_JOB:
        raise
    except Exception as unexpected:
        error = run.internal_error(unexpected, request.exchange, request)
        run.sender.counts.failed(request.exchange, error)
        if error is unexpected:
            raise
        raise error from None


async def _check_clock(run: CollectionRun, exchange: Exchange) -> None:
    """Asks the exchange's clock, so that the run stops asking the exchange if that is refused too.

    Refusals of single markets cost one such request in a while.
    """
    async with run.clock_check(exchange) as due:
        if not due:
            return
        request = listing_request(exchange, Endpoint.TIME)
        try:
            await _try(run, request, bytes)
        except ExchangeError as error:
            run.failed(request, error)
        else:
            run.clock_answered(exchange)


async def _tell_maintenance(run: CollectionRun, error: ExchangeError) -> None:
    """Adds to the cause that the exchange is being maintained, and until when, if it says so: it is
    asked once in a run, where one of its servers does not do its work."""
    exchange = error.exchange
    if exchange not in run.maintenance:
        run.maintenance[exchange] = ""
        if VENUES[exchange].read_maintenance is None:
            return
        request = listing_request(exchange, Endpoint.STATUS)
        try:
            told = await _try(run, request, partial(parse_maintenance, exchange))
        except ExchangeError as unknown:
            log.info("maintenance_unknown", exchange=exchange, cause=str(unknown))
            return
        if told is not None:
            run.maintenance[exchange] = _maintained(told)
    if run.maintenance[exchange]:
        error.cause = f"{run.maintenance[exchange]}: {error.cause}"


def _maintained(told: Maintenance) -> str:
    """maintenance until 2026-12-01 18:00 UTC (Trading system upgrade)"""
    title = foreign_text(told.title, _LONGEST_TITLE)
    until = ""
    if told.end_ms:
        moment = datetime.fromtimestamp(told.end_ms / 1000, UTC)
        until = f" until {moment:%Y-%m-%d %H:%M} UTC"
    return f"maintenance{until}" + (f" ({title})" if title else "")


def _check_not_skipped(run: CollectionRun, request: Request) -> None:
    if (reason := run.reason_to_skip(request.exchange, request.endpoint)) is not None:
        raise GaveUp(
            f"not asked: {reason.cause}",
            exchange=request.exchange,
            endpoint=request.endpoint,
            market=request.symbol,
            status=reason.status,
        )
