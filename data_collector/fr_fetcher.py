"""Updates the funding of all markets; exchange_funding.py decides what to request.

Stores nothing; the caller publishes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from data_collector.clock_witnesses import LastAsOf
from data_collector.exchange_clocks import Clocks, ExchangeClock
from data_collector.exchange_funding import ExchangeFunding, FundingResults
from data_collector.internal_errors import ENDS_JOB
from data_collector.run import CollectionRun, Sender, together
from market.lives import begun
from market.markets import Exchange, FundingByMarket, Market, Missing
from venues.errors import ClockWrong, CollectionFailed, ExchangeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FundingUpdate:
    """The new funding of all markets, and statistics of the update.

    `as_of_ms`: the smallest of the believed clocks, read before the first request.
    `missing`: markets that failed, and settlements that were left out, ascending. `carried_over`
    markets keep their old series and `checked_at_ms`. `changed`: markets with new or
    corrected settlements.
    `brought`: the exchanges of which a market was updated; `absent`: those of which none was, and
    why. `clocks`: by exchange, what is against its clock, or why it is not believed.
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
    clocks: Mapping[Exchange, str] = field(default_factory=dict)


async def run_fr_update_process(
    client: Sender,
    markets: Sequence[Market],
    known: FundingByMarket,
    *,
    funding_history: int,
    on_progress: Callable[[int, int], None],
    stored_as_of_ms: int | None = None,
    last_as_of: LastAsOf | None = None,
) -> FundingUpdate:
    """Updates the funding of `markets`, starting from `known`.

    A market that fails keeps its old series; one not in `markets` is dropped. If nothing is due,
    only the clock and the lists of each exchange are requested. `stored_as_of_ms`: the as_of of
    the document that holds `known`; `last_as_of`: the time that this process believed last. Raises
    CollectionFailed if every market fails, or if no exchange's clock can be believed.
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

    async with Clocks(run, by_exchange, stored_as_of_ms, last_as_of or LastAsOf()) as clocks:
        present = await clocks.present()
        slowest = present.slowest()
        on_progress(0, len(markets))
        updates = [
            ExchangeFunding(run, exchange, known, funding_history, results, count)
            for exchange in by_exchange
        ]

        async def refresh(update: ExchangeFunding) -> None:
            clock = slowest
            markets_of = [
                begun(market, present.as_of_ms) for market in by_exchange[update.exchange]
            ]
            try:
                # No settlement counts as known up to a time that others have not reached.
                own = await clocks.clock(update.exchange)
                clock = min(own, slowest, key=ExchangeClock.now_ms)
            except ClockWrong as error:
                update.fail_all(markets_of, slowest, error)
                return
            except ExchangeError:
                pass  # its own time is unknown
            try:
                await update.refresh(markets_of, clock)
            except ENDS_JOB:
                raise
            except Exception as error:  # the other exchanges go on
                update.fail_rest(markets_of, error)

        await together(refresh(update) for update in updates)
        # Markets that failed while their exchange was in trouble are tried once more.
        run.reset_failures()
        await together(update.retry_failed() for update in updates)
    if len(results.missing) == len(markets):
        raise CollectionFailed(_causes(results.missing))
    log.info(
        "funding_updated",
        markets=len(markets),
        changed=results.changed,
        corrected=results.corrected,
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
        present.as_of_ms,
        sorted([*results.missing, *_left_out(results.series)]),
        run.requests,
        run.retries,
        results.carried_over,
        results.changed,
        brought,
        {exchange: why for exchange, why in causes.items() if exchange not in brought},
        present.remarks,
    )


def _left_out(funding: FundingByMarket) -> Iterator[Missing]:
    """The invalid settlements that the exchanges sent."""
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
