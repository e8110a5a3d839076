"""The discovery job: fetches the markets that each exchange lists and stores them in PostgreSQL.

data_collector/discovery.py requests and parses the listings; stores/cold/markets.py updates the
known markets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from data_collector.discovery import fetch_listed
from data_collector.run import CollectionRun, Sender, work_through
from database import Database, SavedMarkets
from job_queue.records import JobRecord
from jobs.context import JobContext, JobFailed, Outcome, Progress
from market.markets import Exchange
from stores.hot.leases import Lease
from venues.errors import ExchangeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """For each exchange the number of listed markets and what changed, or why it failed.

    The markets of an exchange in `failures` are unchanged; each text names its exchange.
    """

    found: Mapping[Exchange, int]
    saved: Mapping[Exchange, SavedMarkets]
    failures: Mapping[Exchange, str]
    requests: int
    retries: int


async def run_discovery(
    client: Sender, database: Database, exchanges: Sequence[Exchange], quote: str
) -> DiscoveryResult:
    """Stores the contracts that each exchange lists now, all exchanges in parallel.

    An exchange that fails goes to `failures`, and does not affect the others. Raises
    DatabaseUnavailable.
    """
    run = CollectionRun(client)
    found: dict[Exchange, int] = {}
    saved: dict[Exchange, SavedMarkets] = {}
    failures: dict[Exchange, str] = {}

    async def discover(exchange: Exchange) -> None:
        seen_at_ms = client.clock.wall_ms()
        try:
            listed = await fetch_listed(run, exchange, quote)
        except ExchangeError as error:
            log.warning("discovery_failed", exchange=exchange, error=str(error))
            failures[exchange] = str(error)
            return
        saved[exchange] = await database.markets.save_markets(
            exchange, listed, seen_at_ms=seen_at_ms
        )
        found[exchange] = len(listed)
        log.info(
            "discovery_finished",
            exchange=exchange,
            markets=len(listed),
            added=saved[exchange].added,
            returned=saved[exchange].returned,
            delisted=saved[exchange].delisted,
        )

    await work_through(exchanges, lambda exchange: exchange, discover, workers=1)
    return DiscoveryResult(found, saved, failures, run.requests, run.retries)


async def discover(context: JobContext, _: JobRecord, __: Lease, progress: Progress) -> Outcome:
    """The discovery job."""
    return await list_markets(context, progress)


async def list_markets(context: JobContext, progress: Progress) -> Outcome:
    """Stores the markets of the configured exchanges. Raises JobFailed if all exchanges fail, and
    DatabaseUnavailable."""
    settings = context.settings
    progress.enter("markets", total=len(settings.exchanges))
    result = await run_discovery(
        context.client, context.database, settings.exchanges, settings.quote
    )
    if not result.saved:
        raise JobFailed("; ".join(result.failures.values()))
    return Outcome(
        None,
        {
            "markets": sum(result.found.values()),
            "missing": len(result.failures),
            "requests": result.requests,
            "retries": result.retries,
        },
    )
