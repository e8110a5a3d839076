"""Updates the funding of all markets; exchange_funding.py decides what to request.

Stores nothing; the caller publishes.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from data_collector.exchange_clocks import Clocks, ExchangeClock
from data_collector.exchange_funding import ExchangeFunding, FundingResults
from data_collector.internal_errors import ENDS_JOB
from data_collector.run import CollectionRun, Sender
from market.markets import Exchange, FundingByMarket, Market, Missing
from venues.errors import CollectionFailed, ExchangeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FundingUpdate:
    """The new funding of all markets, and statistics of the update.

    `as_of_ms`: the smallest of the exchanges' clocks, read before the first request.
    `missing`: markets that failed, and settlements that were left out, ascending. `carried_over`
    markets keep their old series and `checked_at_ms`. `changed`: markets with new settlements.
    `brought`: the exchanges of which a market was updated; `absent`: those of which none was, and
    why.
    """

    funding: FundingByMarket
    as_of_ms: int
    missing: list[Missing]
    requests: int
    retries: int
    carried_over: int
    changed: int
    brought: frozenset[Exchange]
    absent: Mapping[Exchange, str]


async def run_fr_update_process(
    client: Sender,
    markets: Sequence[Market],
    known: FundingByMarket,
    *,
    funding_history: int,
    on_progress: Callable[[int, int], None],
) -> FundingUpdate:
    """Updates the funding of `markets`, starting from `known`.

    A market that fails keeps its old series; one not in `markets` is dropped. If nothing is due,
    only the clock and the lists of each exchange are requested. Raises CollectionFailed if every
    market fails.
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
        answered = await clocks.answered_in_time()
        as_of_ms = min(clock.server_ms for clock in answered.values())
        slowest = min(answered.values(), key=ExchangeClock.now_ms)
        on_progress(0, len(markets))
        updates = [
            ExchangeFunding(run, exchange, known, funding_history, results, count)
            for exchange in by_exchange
        ]

        async def refresh(update: ExchangeFunding) -> None:
            try:
                clock = await clocks.clock(update.exchange)
            except ExchangeError:
                clock = slowest  # for an exchange whose own time is unknown
            try:
                await update.refresh(by_exchange[update.exchange], clock)
            except ENDS_JOB:
                raise
            except Exception as error:  # the other exchanges go on
                update.fail_rest(by_exchange[update.exchange], error)

        async with asyncio.TaskGroup() as group:
            for update in updates:
                group.create_task(refresh(update))
        # Markets that failed while their exchange was in trouble are tried once more.
        run.reset_failures()
        async with asyncio.TaskGroup() as group:
            for update in updates:
                group.create_task(update.retry_failed())
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
    failed = {(entry.exchange, entry.symbol) for entry in results.missing}
    updated = [market for market in markets if (market.exchange, market.symbol) not in failed]
    brought = frozenset(market.exchange for market in updated)
    causes = _first_causes(results.missing)
    return FundingUpdate(
        dict(sorted(results.series.items())),
        as_of_ms,
        sorted([*results.missing, *_left_out(results.series)]),
        run.requests,
        run.retries,
        results.carried_over,
        results.changed,
        brought,
        {exchange: why for exchange, why in causes.items() if exchange not in brought},
    )


def _left_out(funding: FundingByMarket) -> Iterator[Missing]:
    """The settlements that the exchanges sent and that cannot be."""
    for series in funding.values():
        for row in series.left_out:
            market = series.market
            yield Missing(market.exchange, market.symbol, "funding_rate", row.text())


def _first_causes(missing: Sequence[Missing]) -> dict[Exchange, str]:
    """One cause per exchange."""
    return {entry.exchange: entry.reason for entry in reversed(sorted(missing))}


def _causes(missing: Sequence[Missing]) -> str:
    first = _first_causes(missing)
    return "; ".join(f"{exchange}: {reason}" for exchange, reason in sorted(first.items()))
