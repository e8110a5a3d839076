"""Retries of requests to exchanges: for which errors, how often, with which backoff."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import structlog

from data_collector.run import CollectionRun
from timing.backoff import Backoff
from venues.errors import BadPayload, ExchangeError, GaveUp, RateLimited, SourceDown
from venues.venue import Request

# Attempts of one request at most, by error. The client sets the timeout of each attempt.
TRIES: Final[Mapping[type[ExchangeError], int]] = {SourceDown: 5, BadPayload: 3, RateLimited: 5}
RETRY_WITHIN_S: Final = 20.0  # no attempt begins later than this after the first failure
BACKOFF_S: Final = 0.5  # doubled each time; the actual wait is random between 0 and this
LONGEST_BACKOFF_S: Final = 8.0

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
    while True:
        _check_not_skipped(run, request)
        try:
            result = await _try(run, request, parse)
        except (SourceDown, BadPayload, RateLimited) as error:
            kind = type(error)
            tries[kind] += 1
            now = clock.monotonic_s()
            run.try_failed(request, error)
            if first_failure is None or kind is RateLimited:
                first_failure = now  # time spent in a pause does not count
            # Full jitter: requests that failed together must not all return together.
            wait_s = random.uniform(0, backoff.pause_s())  # noqa: S311 - not a secret
            late = now + wait_s - first_failure > RETRY_WITHIN_S
            if tries[kind] >= TRIES[kind] or late:
                run.failed(request, error)
                raise
            log.debug("retry", cause=str(error), tries=tries.total(), wait_s=round(wait_s, 2))
            if kind is not RateLimited:  # the rate limits wait for the end of the pause
                await clock.sleep(wait_s)
            run.retried(request)
        except ExchangeError as error:
            run.failed(request, error)
            raise
        else:
            run.succeeded(request)
            return result


async def _try(run: CollectionRun, request: Request, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(await run.sender.send(request, run.counts))
    except ExchangeError as error:
        run.sender.counts.failed(request, error)
        raise


def _check_not_skipped(run: CollectionRun, request: Request) -> None:
    if (reason := run.reason_to_skip(request.exchange, request.endpoint)) is not None:
        raise GaveUp(
            f"not asked: {reason.cause}",
            exchange=request.exchange,
            endpoint=request.endpoint,
            market=request.symbol,
            status=reason.status,
        )
