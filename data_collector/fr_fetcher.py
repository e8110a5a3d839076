"""Funding of all markets: history for those new to us, then only what is new.

Asks as little as possible (exchange_funding.py) and stores nothing; the caller publishes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from data_collector.exchange_clocks import Clocks, ExchangeClock
from data_collector.exchange_funding import ExchangeFunding, FundingResults
from data_collector.run import CollectionRun, Sender
from market.markets import Exchange, FundingByMarket, Market, Missing
from venues.errors import CollectionFailed, ExchangeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FundingUpdate:
    """The new book and how it came about.

    `as_of_ms`: exchange time before the first request, the smallest of those that answered.
    `missing`: markets that could not be asked, ascending; `carried_over` of them kept what they
    had, with its old `checked_at_ms`. `changed`: markets with settlements they had not before.
    """

    book: FundingByMarket
    as_of_ms: int
    missing: list[Missing]
    requests: int
    retries: int
    carried_over: int
    changed: int


async def run_fr_update_process(
    client: Sender,
    markets: Sequence[Market],
    known: FundingByMarket,
    *,
    funding_history: int,
    on_progress: Callable[[int, int], None],
) -> FundingUpdate:
    """The funding book of `markets`, built on the `known` one.

    A market that fails keeps what it had; one that is not in `markets` leaves the book. A run
    with nothing to ask costs the clock and the lists of each exchange. Raises CollectionFailed
    when no market of any exchange could be brought up to date.
    """
    run = CollectionRun(client)
    by_exchange: dict[Exchange, list[Market]] = {}
    for market in markets:
        by_exchange.setdefault(market.exchange, []).append(market)
    if not markets:
        raise CollectionFailed("no markets to refresh funding for")
    results = FundingResults()
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(done, len(markets))

    async with Clocks(run, by_exchange) as clocks:
        told = await clocks.told()
        as_of_ms = min(clock.told_ms for clock in told.values())
        slowest = min(told.values(), key=ExchangeClock.now_ms)
        on_progress(0, len(markets))
        updates = [
            ExchangeFunding(run, exchange, known, funding_history, results, count)
            for exchange in by_exchange
        ]

        async def refresh(update: ExchangeFunding) -> None:
            try:
                clock = await clocks.of(update.exchange)
            except ExchangeError:
                clock = slowest  # one that does not tell its time is judged by another's
            await update.refresh(by_exchange[update.exchange], clock)

        async with asyncio.TaskGroup() as group:
            for update in updates:
                group.create_task(refresh(update))
        # What failed in a bad moment of its exchange gets one more chance at the end.
        run.forgive()
        async with asyncio.TaskGroup() as group:
            for update in updates:
                group.create_task(update.try_again())
    if markets and len(results.missing) == len(markets):
        raise CollectionFailed(_causes(results.missing))
    log.info(
        "funding_updated",
        markets=len(markets),
        changed=results.changed,
        missing=len(results.missing),
        requests=run.requests,
        retries=run.retries,
    )
    return FundingUpdate(
        dict(sorted(results.series.items())),
        as_of_ms,
        sorted(results.missing),
        run.requests,
        run.retries,
        results.carried_over,
        results.changed,
    )


def _causes(missing: Sequence[Missing]) -> str:
    """One cause for each exchange."""
    first = {entry.exchange: entry.reason for entry in reversed(sorted(missing))}
    return "; ".join(f"{exchange}: {reason}" for exchange, reason in sorted(first.items()))
