"""What each kind of job does: a collection, a funding refresh, a discovery of markets.

A job runs under the lease that its worker holds; it reports where it is through `Progress` and
ends with an `Outcome` or an error. It knows nothing of leases' renewal, signals or other jobs.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from cache_manager import CacheManager
from data_collector.discovery import run_discovery
from data_collector.exchange_client import ExchangeClient
from data_collector.fr_fetcher import run_fr_update_process
from database import Database
from job_queue import JobQueue, JobRecord
from leases import Lease
from redis_client import HotStore

from config import Settings
from data_collector import fetch_market_data
from documents import GLOBAL_FR, DocumentBuilder, decode_funding, encode_funding
from market_data import Coin, FundingBook, Market, MarketSeries, Timeframe

# How long a job that lacks what another job brings waits for that one.
_OTHER_JOB_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.5

log = structlog.get_logger(__name__)


class JobFailed(Exception):
    """The job cannot be done now; the message is the record's `error`."""


@dataclass(slots=True)
class Progress:
    """Where a running job is; `done` and `total` count tasks of the phase."""

    phase: str = "queued"
    done: int = 0
    total: int = 0

    def enter(self, phase: str, total: int = 0) -> None:
        self.phase, self.done, self.total = phase, 0, total

    def count(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@dataclass(frozen=True, slots=True)
class Outcome:
    as_of_ms: int | None
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that jobs work with; built once in main.py."""

    settings: Settings
    store: HotStore
    cache: CacheManager
    queue: JobQueue
    database: Database
    client: ExchangeClient
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)


async def run_job(desk: Desk, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Does the work of `job`.

    Raises JobFailed, ExchangeError, DatabaseUnavailable, StoreUnavailable, LeaseLost.
    """
    started = time.monotonic()
    if job.timeframe is not None:
        outcome = await _collect(desk, job.timeframe, lease, progress)
    elif job.kind == "funding":
        outcome = await _refresh_funding(desk, lease, progress)
    else:
        outcome = await _discover(desk, progress)
    duration_ms = round((time.monotonic() - started) * 1000)
    return Outcome(outcome.as_of_ms, {**outcome.result, "duration_ms": duration_ms})


async def _collect(desk: Desk, timeframe: Timeframe, lease: Lease, progress: Progress) -> Outcome:
    settings = desk.settings
    progress.enter("markets")
    coins = await _coins(desk, timeframe, progress)
    metas = {coin.market.key: coin.meta for coin in coins}
    funding = await _funding_book(desk, progress)
    builders = {
        made: DocumentBuilder(made, "collected" if made is timeframe else "aggregated")
        for made in timeframe.produces
    }

    def deliver(made: Timeframe, series: MarketSeries) -> None:
        builders[made].add(series, metas.get(series.market.key, {}))

    progress.enter("fetch")
    collected = await fetch_market_data(
        timeframe,
        [coin.market for coin in coins],
        desk.client,
        deliver,
        history_candles=settings.history_candles,
        prefetched_fr_data=funding,
        funding_history=settings.funding_history,
        on_progress=progress.count,
    )
    progress.enter("merge", total=len(builders))
    markets, rows = builders[timeframe].markets, builders[timeframe].rows
    stored_bytes = 0
    for number, (made, builder) in enumerate(builders.items(), start=1):
        version = await desk.cache.next_version(made, collected.as_of_ms)
        updated_at_ms = desk.now_ms()
        document = await asyncio.to_thread(
            builder.finish,
            version=version,
            as_of_ms=collected.as_of_ms,
            updated_at_ms=updated_at_ms,
            missing=collected.missing,
        )
        progress.enter("publish", total=len(builders))
        progress.count(number - 1, len(builders))
        meta = await desk.cache.save_to_cache(
            made,
            document,
            version=version,
            as_of_ms=collected.as_of_ms,
            updated_at_ms=updated_at_ms,
            lease=lease,
        )
        stored_bytes += meta.stored_bytes
        log.info("published", document=str(made), version=version, stored_bytes=meta.stored_bytes)
    if collected.funding_outdated:
        await desk.queue.request("funding")
    return Outcome(
        collected.as_of_ms,
        {
            "markets": markets,
            "rows": rows,
            "missing": len(collected.missing),
            "carried_over": collected.carried_over,
            "requests": collected.requests,
            "retries": collected.retries,
            "bytes": stored_bytes,
        },
    )


async def _coins(desk: Desk, timeframe: Timeframe, progress: Progress) -> list[Coin]:
    """The markets to collect; when there are none yet, discovery runs first."""
    settings = desk.settings

    async def known() -> list[Coin]:
        return await desk.database.get_coins_from_db(
            timeframe,
            exchanges=settings.exchanges,
            quote=settings.quote,
            markets_limit=settings.markets_limit,
        )

    coins = await known()
    if not coins:
        await _discover(desk, progress)
        coins = await known()
    if not coins:
        raise JobFailed(
            f"no active {settings.quote} markets on {', '.join(settings.exchanges)}: "
            "none were discovered, or all are disabled"
        )
    return coins


async def _funding_book(desk: Desk, progress: Progress) -> FundingBook:
    """What `cache:global_fr` holds; empty when no funding job brings it within the wait."""
    document = await desk.cache.read(GLOBAL_FR)
    if document is None and await _comes(desk, "funding", progress):
        document = await desk.cache.read(GLOBAL_FR)
    if document is None:
        log.warning("no_funding_yet")
        return {}
    return await asyncio.to_thread(lambda: decode_funding(document.inflate()))


async def _comes(desk: Desk, job_id: str, progress: Progress) -> bool:
    """Waits for a job that is queued or running to end; False when there is none, or too long."""
    deadline = time.monotonic() + _OTHER_JOB_S
    progress.enter("waiting")
    while time.monotonic() < deadline:
        job = await desk.queue.get(job_id)
        if job is None or job.state not in ("queued", "active"):
            return job is not None and job.state == "complete"
        await asyncio.sleep(_LOOK_EVERY_S)
    return False


async def _refresh_funding(desk: Desk, lease: Lease, progress: Progress) -> Outcome:
    settings = desk.settings
    progress.enter("markets")
    markets = await _all_markets(desk, progress)
    document = await desk.cache.read(GLOBAL_FR)
    known: FundingBook = {}
    if document is not None:
        known = await asyncio.to_thread(lambda: decode_funding(document.inflate()))
    progress.enter("fetch", total=len(markets))
    update = await run_fr_update_process(
        desk.client,
        markets,
        known,
        funding_history=settings.funding_history,
        on_progress=progress.count,
    )
    progress.enter("publish", total=1)
    version = await desk.cache.next_version(GLOBAL_FR, update.as_of_ms)
    updated_at_ms = desk.now_ms()
    body = await asyncio.to_thread(
        encode_funding,
        update.book,
        version=version,
        as_of_ms=update.as_of_ms,
        updated_at_ms=updated_at_ms,
        missing=update.missing,
    )
    meta = await desk.cache.save_to_cache(
        GLOBAL_FR,
        body,
        version=version,
        as_of_ms=update.as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
    )
    return Outcome(
        update.as_of_ms,
        {
            "markets": len(update.book),
            "rows": sum(len(series.rows) for series in update.book.values()),
            "missing": len(update.missing),
            "carried_over": update.carried_over,
            "requests": update.requests,
            "retries": update.retries,
            "bytes": meta.stored_bytes,
        },
    )


async def _all_markets(desk: Desk, progress: Progress) -> list[Market]:
    settings = desk.settings

    async def known() -> list[Market]:
        return await desk.database.get_all_unique_coins(
            exchanges=settings.exchanges,
            quote=settings.quote,
            markets_limit=settings.markets_limit,
        )

    markets = await known()
    if not markets and await _comes(desk, "discovery", progress):
        markets = await known()
    if not markets:
        await _discover(desk, progress)
        markets = await known()
    if not markets:
        raise JobFailed("no markets to refresh funding for")
    return markets


async def _discover(desk: Desk, progress: Progress) -> Outcome:
    progress.enter("markets", total=len(desk.settings.exchanges))
    found = await run_discovery(
        desk.client, desk.database, desk.settings.exchanges, desk.settings.quote
    )
    if not found.saved:
        raise JobFailed("; ".join(f"{name}: {why}" for name, why in found.failures.items()))
    return Outcome(None, {})
