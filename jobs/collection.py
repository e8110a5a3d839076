"""The collection job: fetches one timeframe's markets, builds its documents and publishes them."""

import asyncio
from collections.abc import Sequence

from data_collector import fetch_market_data
from documents.names import GLOBAL_FR
from job_queue.kinds import producer_of
from job_queue.records import JobRecord
from jobs.absences import absences
from jobs.closes import collect_all, collect_from_fresh_bases
from jobs.context import JobContext, Outcome, Progress, by_exchange
from jobs.funding import known_funding
from jobs.markets import markets_to_collect
from jobs.overview import publish_overview
from jobs.publishing import begin_drafts, publish
from jobs.shards import shared
from jobs.stored import previous_series, stored_as_of_ms
from market.left_out import read_left_out
from market.markets import Market
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease


async def collect(context: JobContext, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Collects the job's timeframe, or all, and publishes every document made from it; with the
    newest 5m rows the overview, too."""
    progress.enter("markets")
    markets = await markets_to_collect(context, lease, progress)
    timeframe, from_bases = job.timeframe, True
    if timeframe is None:
        outcome = await collect_all(context, markets, lease, progress)
    elif fresh := await collect_from_fresh_bases(context, timeframe, markets, lease, progress):
        outcome = fresh
    else:
        from_bases = False
        outcome = await _collect_natively(context, timeframe, markets, lease, progress)
    if timeframe in (None, Timeframe.M5) and outcome.as_of_ms is not None:
        await publish_overview(context, markets, outcome.as_of_ms, lease, from_bases=from_bases)
    return outcome


async def _collect_natively(
    context: JobContext,
    timeframe: Timeframe,
    markets: Sequence[Market],
    lease: Lease,
    progress: Progress,
) -> Outcome:
    """Asks for the timeframe itself, and publishes every document made from it."""
    settings = context.settings
    previous = {
        produced: await previous_series(context, produced, lease) for produced in timeframe.produces
    }
    funding = await known_funding(context, lease, progress)
    drafts = await begin_drafts(context, timeframe, previous, markets)
    progress.enter("fetch")
    collected = await fetch_market_data(
        timeframe,
        markets,
        context.client,
        lambda produced, series: drafts[produced].add(series),
        history_candles=settings.history_candles,
        prefetched_fr_data=funding,
        funding_history=settings.funding_history,
        previous={produced: stored or {} for produced, stored in previous.items()},
        stored_as_of_ms=await stored_as_of_ms(context, timeframe.produces, lease),
        last_as_of=context.last_as_of,
        on_progress=progress.count,
        share=lambda run, asks: shared(context, run, asks, lease),
        trade_columns=settings.trade_columns,
    )
    absent, unlisted = await absences(context, collected.brought, collected.absent)
    missing = sorted([*collected.missing, *unlisted])
    for draft in drafts.values():
        await asyncio.to_thread(draft.encode_rest)
    context.held_up[timeframe] = frozenset(
        f"{lack.exchange}:{lack.symbol}"
        for lack in collected.missing
        if lack.part == "klines" and read_left_out(lack.reason) is None
    )
    waiting = [(draft, missing) for draft in drafts.values()]
    published = await publish(context, waiting, collected.as_of_ms, lease, progress)
    errors = [document.not_stored for document in published if document.not_stored is not None]
    not_stored = {"metadata_not_stored": errors[-1]} if errors else {}
    if collected.funding_outdated:
        await retry_under_lease(lease, lambda: context.queue.request(producer_of(GLOBAL_FR)))
    return Outcome(
        collected.as_of_ms,
        {
            "markets": drafts[timeframe].markets,
            "rows": drafts[timeframe].rows,
            "missing": len(missing),
            "carried_over": collected.carried_over,
            "requests": collected.requests,
            "retries": collected.retries,
            "bytes": sum(document.stored_bytes for document in published),
            **not_stored,
            **by_exchange(absent=absent, clocks=collected.clocks),
        },
        missing,
    )
