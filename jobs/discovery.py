"""The discovery job: fetches the markets that each exchange lists and stores them in PostgreSQL.

data_collector/discovery.py requests and parses the listings; stores/cold/markets.py updates the
known markets.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from data_collector.clock_witnesses import LastAsOf
from data_collector.discovery import fetch_listed
from data_collector.exchange_clocks import Clocks, ExchangeClock, Present
from data_collector.run import CollectionRun, Sender, work_through
from database import Database, DatabaseUnavailable, SavedMarkets
from job_queue.records import JobRecord
from jobs.context import JobContext, JobFailed, Outcome, Progress
from market.markets import Exchange
from market.unread_entries import UnreadEntry
from stores.hot.leases import Lease
from venues.errors import ClockWrong, CollectionFailed, ExchangeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """For each exchange the number of listed markets and what changed, or why it failed.

    The markets of an exchange in `failures` are unchanged; each text names its exchange. So are
    those of one whose list is unconfirmed (SavedMarkets).
    """

    found: Mapping[Exchange, int]
    saved: Mapping[Exchange, SavedMarkets]
    failures: Mapping[Exchange, str]
    requests: int
    retries: int

    def as_json(self) -> dict[str, object]:
        """The job's result; `absent`, `unconfirmed` and `refused` by exchange, if any."""
        saved = self.saved.items()
        unconfirmed = {str(name): found.unconfirmed for name, found in saved if found.unconfirmed}
        by_exchange: dict[str, dict[str, object]] = {
            "absent": {str(name): why for name, why in self.failures.items()},
            "unconfirmed": {**unconfirmed},
            "refused": {str(name): list(told) for name, found in saved if (told := found.told)},
        }
        return {
            "markets": sum(self.found.values()),
            "missing": len(self.failures),
            "requests": self.requests,
            "retries": self.retries,
            **{name: value for name, value in by_exchange.items() if value},
        }


async def run_discovery(
    client: Sender,
    database: Database,
    exchanges: Sequence[Exchange],
    quote: str,
    last_as_of: LastAsOf | None = None,
) -> DiscoveryResult:
    """Stores the contracts that each exchange lists now, all exchanges in parallel.

    A list is of the exchange's own time; if it does not tell it, of another believed clock. An
    exchange that fails, in whatever way, goes to `failures`, and does not affect the others.
    Raises DatabaseUnavailable.
    """
    run = CollectionRun(client)
    clocks = Clocks(run, exchanges, last_as_of=last_as_of or LastAsOf())
    present: Present | None = None
    found: dict[Exchange, int] = {}
    saved: dict[Exchange, SavedMarkets] = {}
    failures: dict[Exchange, str] = {}

    async def discover(exchange: Exchange) -> None:
        now_ms = client.clock.wall_ms()
        try:
            clock = await _clock_of(exchange, clocks, present)
            seen_at_ms = clock.now_ms()
            unread: list[UnreadEntry] = []
            listed = await fetch_listed(run, exchange, quote, unread)
            saved[exchange] = await database.markets.save_markets(
                exchange, listed, seen_at_ms=seen_at_ms, now_ms=now_ms, unread=unread
            )
        except DatabaseUnavailable:
            raise
        except Exception as error:
            named = run.internal_error(error, exchange)
            log.warning("discovery_failed", exchange=exchange, error=str(named))
            failures[exchange] = str(named)
            await database.listings.failed(exchange, failures[exchange], at_ms=now_ms)
            return
        found[exchange] = len(listed) - len(saved[exchange].refused)
        _log_saved(exchange, found[exchange], saved[exchange])

    def failed(exchange: Exchange, error: ExchangeError) -> None:
        failures[exchange] = str(error)

    async with clocks:
        with contextlib.suppress(CollectionFailed):  # each exchange fails with its own cause
            present = await clocks.present()
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


async def _clock_of(exchange: Exchange, clocks: Clocks, present: Present | None) -> ExchangeClock:
    """Raises ClockWrong, or the error of an exchange that does not tell the time if none does."""
    try:
        return await clocks.clock(exchange)
    except ClockWrong:
        raise
    except ExchangeError:
        if present is None:
            raise
        return present.slowest()


async def discover(context: JobContext, _: JobRecord, __: Lease, progress: Progress) -> Outcome:
    """The discovery job."""
    return await list_markets(context, progress)


async def list_markets(context: JobContext, progress: Progress) -> Outcome:
    """Stores the markets of the configured exchanges. Raises JobFailed if all exchanges fail, and
    DatabaseUnavailable."""
    settings = context.settings
    progress.enter("markets", total=len(settings.exchanges))
    result = await run_discovery(
        context.client,
        context.database,
        settings.exchanges,
        settings.quote,
        context.last_as_of,
    )
    if not result.saved:
        raise JobFailed("; ".join(result.failures.values()))
    return Outcome(None, result.as_json())


def _log_saved(exchange: Exchange, markets: int, saved: SavedMarkets) -> None:
    if saved.told:
        log.warning("markets_left_out", exchange=exchange, markets=saved.told)
    if saved.unconfirmed:
        log.warning(
            "list_unconfirmed",
            exchange=exchange,
            markets=markets,
            would_remove=saved.unconfirmed,
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
        replaced=saved.replaced,
    )
