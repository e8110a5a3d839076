"""The markets that a run collects: from the database, or the last known ones while it is away."""

import structlog

from database import DatabaseUnavailable
from job_queue.kinds import lane_of
from jobs.context import JobContext, JobFailed, Progress
from jobs.discovery import list_markets
from jobs.known_markets import load_known_markets, save_known_markets
from jobs.waiting import wait_for_job
from market.markets import Market
from stores.hot.leases import Lease

log = structlog.get_logger(__name__)


async def markets_to_collect(context: JobContext, lease: Lease, progress: Progress) -> list[Market]:
    """The markets to collect; while the database is away, the last known ones.

    Raises DatabaseUnavailable if it is away and none are known, and JobFailed if it has none even
    after a discovery.
    """
    try:
        markets = await _markets_from_database(context, lease, progress)
    except DatabaseUnavailable as error:
        markets = await load_known_markets(context.store, lease, context.selection)
        if not markets:
            raise
        log.warning("using_last_known_markets", markets=len(markets), error=str(error))
        return markets
    await save_known_markets(context.store, lease, context.selection, markets)
    return markets


async def _markets_from_database(
    context: JobContext, lease: Lease, progress: Progress
) -> list[Market]:
    """The markets in the database; if there are none yet, discovery runs first."""
    settings = context.settings
    # In discovery's own lane a queued discovery waits for this run, so we must not wait for it.
    if lease.name != lane_of("discovery"):
        await _wait_for_listing(context, lease, progress)
    markets = await context.database.get_all_unique_coins(**context.selection)
    if not markets:
        await list_markets(context, progress)
        markets = await context.database.get_all_unique_coins(**context.selection)
    if not markets:
        raise JobFailed(
            f"no active {settings.quote} markets on {', '.join(settings.exchanges)}: "
            "none were discovered, or all are disabled (see `python main.py coins list`)"
        )
    return markets


async def _wait_for_listing(context: JobContext, lease: Lease, progress: Progress) -> None:
    """Waits while an exchange was never discovered and a discovery is queued or running.

    It waits for the stored markets, not for that job's end: a collection ahead of it in its lane
    also discovers markets, and may itself be waiting for us.
    """

    async def is_listed() -> bool:
        markets = context.database.markets
        listed = [await markets.discovered_at_ms(name) for name in context.settings.exchanges]
        return None not in listed

    await wait_for_job(context, "discovery", lease, progress, is_done=is_listed)
