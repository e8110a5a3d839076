"""One request to an exchange and its retries: how often, how long apart, when it is given up."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import structlog

from data_collector.run import CollectionRun
from timing.backoff import Backoff
from venues.errors import BadPayload, ExchangeError, GaveUp, RateLimited, SourceDown
from venues.venue import Request

# How often one request is made at most, by what the last answer was. The deadline of a single
# request is the client's.
TRIES: Final[Mapping[type[ExchangeError], int]] = {SourceDown: 5, BadPayload: 3, RateLimited: 5}
RETRY_WITHIN_S: Final = 20.0  # after the first failure no try begins later than this
BACKOFF_S: Final = 0.5  # doubled each time; the wait is drawn between nothing and all of it
LONGEST_BACKOFF_S: Final = 8.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def fetch_simple(run: CollectionRun, request: Request, parse: Callable[[bytes], T]) -> T:
    """One request and its parsed answer, tried again where that can help.

    Raises the last ExchangeError, or GaveUp without asking once the run has left the endpoint.
    """
    clock = run.sender.clock
    backoff = Backoff(BACKOFF_S, LONGEST_BACKOFF_S)
    tries: Counter[type[ExchangeError]] = Counter()
    first_failure: float | None = None
    while True:
        _check_not_left(run, request)
        try:
            result = await _try(run, request, parse)
        except (SourceDown, BadPayload, RateLimited) as error:
            kind = type(error)
            tries[kind] += 1
            now = clock.monotonic_s()
            run.try_failed(request, error)
            if first_failure is None or kind is RateLimited:
                first_failure = now  # a pause is not the request's own time
            # With full jitter: many clients that failed together do not return together.
            wait_s = random.uniform(0, backoff.pause_s())  # noqa: S311 - not a secret
            late = now + wait_s - first_failure > RETRY_WITHIN_S
            if tries[kind] >= TRIES[kind] or late:
                run.failed(request, error)
                raise
            log.debug("retry", cause=str(error), tries=tries.total(), wait_s=round(wait_s, 2))
            if kind is not RateLimited:  # the budget itself waits for the end of the pause
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


def _check_not_left(run: CollectionRun, request: Request) -> None:
    if (reason := run.gave_up(request.exchange, request.endpoint)) is not None:
        raise GaveUp(
            f"not asked: {reason.cause}",
            exchange=request.exchange,
            endpoint=request.endpoint,
            market=request.symbol,
            status=reason.status,
        )
