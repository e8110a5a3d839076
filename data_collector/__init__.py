"""Collects markets: fetch_market_data() fetches, merges and delivers their rows."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace

import structlog

from budgets.exchange_client import ExchangeClient
from data_collector.clock_witnesses import LastAsOf
from data_collector.collect_or_carry_over import Collection, Deliver
from data_collector.exchange_clocks import Clocks
from data_collector.incremental import PreviousDocuments, SeriesByTimeframe
from data_collector.part_asks import PartAsks
from data_collector.results import Collected, Results
from data_collector.run import CollectionRun
from data_collector.task_builder import build_tasks
from market.lives import begun
from market.markets import FundingByMarket, Market
from market.timeframes import Timeframe
from venues.errors import CollectionFailed

__all__ = ["Collected", "CollectionFailed", "ExchangeClient", "LastAsOf", "fetch_market_data"]

# Has others help the run with some of its first collections while it is open.
Share = Callable[[CollectionRun, PartAsks], AbstractAsyncContextManager[None]]

log = structlog.get_logger(__name__)


def _alone(run: CollectionRun, asks: PartAsks) -> AbstractAsyncContextManager[None]:
    return nullcontext()


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
    stored_as_of_ms: int | None = None,
    last_as_of: LastAsOf | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    share: Share = _alone,
    trade_columns: bool = False,
) -> Collected:
    """Collects `timeframe` for `markets` (no duplicates); delivers each market when it is merged.

    `deliver` is called once per market and produced timeframe (4h also produces 8h).
    `prefetched_fr_data`: the funding to merge; None: the newest `funding_history` settlements of
    each market are fetched too. `previous`: series of older documents by timeframe and
    Market.key. Only what they lack is fetched (incremental.py); if candles fail, the old rows
    are carried over; if open interest fails, theirs is used. `stored_as_of_ms`: the newest as_of
    of these documents; `last_as_of`: the time that this process believed last, which a process
    keeps for all its runs. `on_progress(done, total)` counts tasks. `share`: has other hosts help
    with the markets of which nothing is known. `trade_columns`: the rows tell of trades, where the
    exchange does.

    A failure of one market does not affect others. Raises CollectionFailed if all fail, or if no
    exchange's clock can be believed (clock_witnesses.py).
    """
    timeframe = timeframe.collected_as
    run = CollectionRun(client, trade_columns=trade_columns)
    if not markets:
        raise CollectionFailed("no markets to collect")
    exchanges = {market.exchange for market in markets}
    async with Clocks(run, exchanges, stored_as_of_ms, last_as_of or LastAsOf()) as clocks:
        present = await clocks.present()
        as_of_ms = present.as_of_ms
        markets = [begun(market, as_of_ms) for market in markets]
        tasks = build_tasks(
            timeframe,
            markets,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            with_funding=prefetched_fr_data is None,
            funding_history=funding_history,
        )
        documents = PreviousDocuments(
            previous or {},
            timeframe,
            as_of_ms=as_of_ms,
            history_candles=history_candles,
            trade_columns=trade_columns,
        )
        tasks = documents.rotated(tasks)
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
        log.info("collection_started", timeframe=timeframe, markets=len(markets), as_of=as_of_ms)
        results.progress(0)
        asks = PartAsks(
            tuple(market for market in markets if not documents.goes_on(market)),
            (timeframe,),
            as_of_ms,
            history_candles,
            with_funding=prefetched_fr_data is None,
            funding_history=funding_history,
        )
        async with share(run, asks):
            await collection.collect(tasks)
    collected = results.finish(
        timeframe, as_of_ms=as_of_ms, requests=run.requests, retries=run.retries
    )
    return replace(collected, clocks=present.remarks)
