"""Which markets a run asks for: those that the database lists, else those that it gave last."""

import structlog

from database import DatabaseUnavailable
from job_queue.kinds import lane_of
from jobs.context import JobContext, JobFailed, Progress
from jobs.discovery import list_markets
from jobs.known_markets import keep_markets, known_markets
from jobs.waiting import wait_for_job
from market.markets import Market
from stores.hot.leases import Lease

log = structlog.get_logger(__name__)


async def markets_to_ask(context: JobContext, lease: Lease, progress: Progress) -> list[Market]:
    """The markets to ask for; while the database is away, those that it gave last.

    Raises DatabaseUnavailable when it is away and none are known, and JobFailed when it lists
    none even after a discovery.
    """
    try:
        markets = await _listed(context, lease, progress)
    except DatabaseUnavailable as error:
        markets = await known_markets(context.store, lease, context.selection)
        if not markets:
            raise
        log.warning("going_on_with_known_markets", markets=len(markets), error=str(error))
        return markets
    await keep_markets(context.store, lease, context.selection, markets)
    return markets


async def _listed(context: JobContext, lease: Lease, progress: Progress) -> list[Market]:
    """The markets that the database lists; when there are none yet, discovery comes first."""
    settings = context.settings
    # In the lane of discovery itself, one that is queued waits for us: we cannot wait for it.
    if lease.name != lane_of("discovery"):
        await _wait_for_listing(context, lease, progress)
    markets = await context.database.get_all_unique_coins(**context.selection)
    if not markets:
        await list_markets(context, progress)
        markets = await context.database.get_all_unique_coins(**context.selection)
    if not markets:
        raise JobFailed(
            f"no active {settings.quote} markets on {', '.join(settings.exchanges)}: "
            "none were discovered, or all are disabled"
        )
    return markets


async def _wait_for_listing(context: JobContext, lease: Lease, progress: Progress) -> None:
    """Waits while an exchange was never listed and a discovery is queued or running.

    What counts is the listing, not that job's end: a collection that is ahead of it in its lane
    lists the markets too, and may itself be waiting for us.
    """

    async def is_listed() -> bool:
        markets = context.database.markets
        listed = [await markets.discovered_at_ms(name) for name in context.settings.exchanges]
        return None not in listed

    await wait_for_job(context, "discovery", lease, progress, is_there=is_listed)
