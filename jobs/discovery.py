"""The discovery job: fetches the markets that each exchange lists and stores them in PostgreSQL.

data_collector/discovery.py requests and parses the listings; stores/cold/markets.py updates the
known markets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from data_collector.discovery import fetch_listed
from data_collector.run import CollectionRun, Sender, work_through
from database import Database, DatabaseUnavailable, SavedMarkets
from job_queue.records import JobRecord
from jobs.context import JobContext, JobFailed, Outcome, Progress
from market.markets import Exchange
from stores.hot.leases import Lease
from venues.errors import ExchangeError

_LONGEST_TEXT: Final = 500  # of a text that may quote an exchange

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """For each exchange the number of listed markets and what changed, or why it failed.

    The markets of an exchange in `failures` are unchanged; each text names its exchange. So are
    those of one whose list is doubted (SavedMarkets).
    """

    found: Mapping[Exchange, int]
    saved: Mapping[Exchange, SavedMarkets]
    failures: Mapping[Exchange, str]
    requests: int
    retries: int

    def as_json(self) -> dict[str, object]:
        """The result for the job's record: `absent`, `doubted`, `refused` by exchange, if any."""
        saved = self.saved.items()
        told: dict[str, dict[str, object]] = {
            "absent": {str(name): why for name, why in self.failures.items()},
            "doubted": {str(name): found.doubted for name, found in saved if found.doubted},
            "refused": {str(name): list(found.refused) for name, found in saved if found.refused},
        }
        return {
            "markets": sum(self.found.values()),
            "missing": len(self.failures),
            "requests": self.requests,
            "retries": self.retries,
            **{name: value for name, value in told.items() if value},
        }


async def run_discovery(
    client: Sender, database: Database, exchanges: Sequence[Exchange], quote: str
) -> DiscoveryResult:
    """Stores the contracts that each exchange lists now, all exchanges in parallel.

    An exchange that fails, in whatever way, goes to `failures`, and does not affect the others.
    Raises DatabaseUnavailable.
    """
    run = CollectionRun(client)
    found: dict[Exchange, int] = {}
    saved: dict[Exchange, SavedMarkets] = {}
    failures: dict[Exchange, str] = {}

    async def discover(exchange: Exchange) -> None:
        seen_at_ms = client.clock.wall_ms()
        try:
            unread: set[str] = set()
            listed = await fetch_listed(run, exchange, quote, unread)
            saved[exchange] = await database.markets.save_markets(
                exchange, listed, seen_at_ms=seen_at_ms, unread=unread
            )
        except DatabaseUnavailable:
            raise
        except Exception as error:
            failures[exchange] = _reason(exchange, error)
            await database.listings.failed(exchange, failures[exchange], at_ms=seen_at_ms)
            return
        found[exchange] = len(listed) - len(saved[exchange].refused)
        _log_saved(exchange, found[exchange], saved[exchange])

    def failed(exchange: Exchange, error: ExchangeError) -> None:
        failures[exchange] = str(error)

    await work_through(
        run,
        exchanges,
        lambda exchange: exchange,
        discover,
        failed,
        workers=1,
        ends=(DatabaseUnavailable,),
    )
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
    return Outcome(None, result.as_json())


def _reason(exchange: Exchange, error: Exception) -> str:
    """Why an exchange's list was not taken in; logs it."""
    if isinstance(error, ExchangeError):
        log.warning("discovery_failed", exchange=exchange, error=str(error))
        return str(error)
    # An oddity that no parser foresaw costs this exchange's list alone.
    log.exception("discovery_crashed", exchange=exchange)
    text = f"{type(error).__name__}: {error}"
    return f"{exchange} instruments: its list cannot be taken in: {text[:_LONGEST_TEXT]}"


def _log_saved(exchange: Exchange, markets: int, saved: SavedMarkets) -> None:
    if saved.refused:
        log.warning("markets_not_storable", exchange=exchange, markets=saved.refused)
    if saved.doubted:
        log.warning(
            "list_doubted",
            exchange=exchange,
            markets=markets,
            would_remove=saved.doubted,
            hint="it is asked again after a minute, and believed when it says the same",
        )
        return
    log.info(
        "discovery_finished",
        exchange=exchange,
        markets=markets,
        added=saved.added,
        returned=saved.returned,
        delisted=saved.delisted,
        reborn=saved.reborn,
    )
