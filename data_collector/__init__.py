"""From a list of markets to merged rows: fetch_market_data() is the one way in."""

from collections.abc import Callable, Sequence

import structlog

from budgets.exchange_client import ExchangeClient
from data_collector.exchange_clocks import Clocks
from data_collector.incremental import PreviousDocuments, SeriesByTimeframe
from data_collector.market_outcomes import Collection, Deliver
from data_collector.results import Collected, Results
from data_collector.run import CollectionRun
from data_collector.task_builder import build_tasks
from market.markets import FundingByMarket, Market
from market.timeframes import Timeframe
from venues.errors import CollectionFailed

__all__ = ["Collected", "CollectionFailed", "ExchangeClient", "fetch_market_data"]

log = structlog.get_logger(__name__)


async def fetch_market_data(
    timeframe: Timeframe,
    markets: Sequence[Market],
    client: ExchangeClient,
    deliver: Deliver,
    *,
    history_candles: int,
    prefetched_fr_data: FundingByMarket | None = None,
    funding_history: int = 400,
    previous: SeriesByTimeframe | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Collected:
    """Collects `timeframe` for `markets`, each named once, and delivers each as soon as merged.

    `deliver` is called once for each market and produced timeframe (4h gives 8h too).
    `prefetched_fr_data`: the funding to merge; None: each market's own is fetched as well, the
    newest `funding_history` settlements of it. `previous`: series of older documents by timeframe
    and Market.key: only what they lack is fetched (incremental.py), they are carried over where
    candles fail, and lend their open interest where that fails. `on_progress(done, total)` counts
    tasks, up to `total` of them.

    One market's failure is its own. Raises CollectionFailed when not one could be fetched.
    """
    timeframe = timeframe.collected_as
    run = CollectionRun(client)
    if not markets:
        raise CollectionFailed("no markets to collect")
    async with Clocks(run, (market.exchange for market in markets)) as clocks:
        as_of_ms = min(clock.told_ms for clock in (await clocks.told()).values())
        tasks = build_tasks(
            timeframe,
            markets,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            with_funding=prefetched_fr_data is None,
            funding_history=funding_history,
        )
        documents = PreviousDocuments(
            previous or {}, timeframe, as_of_ms=as_of_ms, history_candles=history_candles
        )
        tasks = documents.in_turn(tasks)
        results = Results(sum(task.count for task in tasks), on_progress)
        collection = Collection(
            run=run,
            clocks=clocks,
            timeframe=timeframe,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            funding=prefetched_fr_data,
            funding_history=funding_history,
            previous=documents,
            deliver=deliver,
            results=results,
        )
        log.info("collecting", timeframe=timeframe, markets=len(markets), as_of=as_of_ms)
        results.progress(0)
        await collection.work(tasks)
    return results.finish(timeframe, as_of_ms=as_of_ms, requests=run.requests, retries=run.retries)
