"""`live`: what comes from the exchanges' streams, fed candles and collectors, until stopped."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from api.parts import Parts
from budgets.exchange_client import ExchangeClient
from commands.collectors import host_collectors, read_collectors
from commands.composition import holder_name, open_parts
from commands.data_dir import remember_exchanges
from commands.open_files import raise_open_file_limit
from commands.runtime import tune_garbage_collection
from commands.store_check import StoreCheck, run_beside
from config import Settings, SettingsError
from data_collector.api_parser import parse_server_time
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import listing_request
from database import DatabaseUnavailable
from job_queue.queue import JobQueue
from jobs.known_markets import Selection, read_known_markets
from live.configured.collector_file import CollectorFile
from live.exchange_feed import ExchangeFeed, FeedParts
from live.exchanges import STREAM_VENUES
from live.process_beat import ProcessBeat
from logging_setup import OutageLog
from market.markets import Exchange, Market
from metrics.event_loop import measuring_loop_lag
from metrics.live import LiveMetrics
from status.low_disks import DiskTeller
from stores.hot.store import HotStore, StoreUnavailable
from timing.clock import SystemClock
from venues.errors import ExchangeError
from venues.venue import Endpoint

log = structlog.get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Feeds the candles of `Settings.live_exchanges`, and runs the collectors of COLLECTORS. Raises
    SettingsError if there are neither, and for mistakes in the file."""
    exchanges, file = settings.live_exchanges, read_collectors(settings)
    if not exchanges and file is None:
        raise SettingsError([_why_none(settings)])
    remember_exchanges(settings)
    raise_open_file_limit()
    async with open_parts(settings, "live") as parts:
        child = arguments.parent_fd is not None
        own = settings.embeds_hot_store
        check = StoreCheck(settings, parts.store, own=own, tell=not child, child=child)
        await check.until_known(stop)
        work = feed(settings, parts, file, stop)
        if child:
            return await work  # its parent keeps the owner record
        telling = DiskTeller(settings, parts.store).run(stop)
        return await run_beside(check.keep(stop), run_beside(telling, work, stop), stop)


async def feed(
    settings: Settings, parts: Parts, file: CollectorFile | None, stop: asyncio.Event
) -> int:
    """Does what a process of live data does until `stop`, with the collectors of `file`."""
    metrics = LiveMetrics()
    async with (
        ExchangeClient(settings, store=parts.store) as client,
        measuring_loop_lag(metrics.loop_lag),
    ):
        tune_garbage_collection()
        return await _work(settings, parts, client, metrics, settings.live_exchanges, file, stop)


def _why_none(settings: Settings) -> str:
    if settings.live == "off":
        return (
            "LIVE: is off, so there is nothing to feed; set it to on or auto, or name collectors by"
            " COLLECTORS"
        )
    names = " or ".join(f"{exchange.upper()}_WS_URL" for exchange in settings.exchanges)
    if settings.upstash_redis_rest_url is not None:
        return f"LIVE: auto means off over Upstash, which bills commands: set LIVE=on, or {names}"
    return f"LIVE: auto means off where another REST address is set without {names}: set it too"


async def _work(
    settings: Settings,
    parts: Parts,
    client: ExchangeClient,
    metrics: LiveMetrics,
    exchanges: Sequence[Exchange],
    file: CollectorFile | None,
    stop: asyncio.Event,
) -> int:
    holder = holder_name()
    async with asyncio.TaskGroup() as running:
        if file is not None:
            work = host_collectors(settings, parts, metrics, file, stop)
            running.create_task(work, name="collectors")
        for exchange in exchanges:
            feed = ExchangeFeed(
                FeedParts(
                    venue=STREAM_VENUES[exchange],
                    settings=settings,
                    store=parts.store,
                    holder=holder,
                    markets=markets_of(settings, parts, exchange),
                    server_ms=partial(server_ms, client, exchange),
                    clock=SystemClock(),
                    on_settled=partial(queue_funding, parts.queue, exchange),
                    metrics=metrics,
                    trade_columns=settings.trade_columns,
                )
            )
            running.create_task(feed.run(stop), name=f"feed of {exchange}")
        # Begun when all feeds have named their exchanges.
        beat = ProcessBeat(parts.store, holder, metrics)
        running.create_task(beat.run(stop), name="beat")
    return 0


def markets_of(
    settings: Settings, parts: Parts, exchange: Exchange
) -> Callable[[], Awaitable[list[str] | None]]:
    """The markets to follow: those that runs collect."""
    outage = OutageLog(log, "markets_not_read", "markets_read_again")
    selection: Selection = {
        "exchanges": settings.exchanges,
        "quote": settings.quote,
        "markets_limit": settings.markets_limit,
    }

    async def markets() -> list[str] | None:
        try:
            found = await parts.database.get_all_unique_coins(**selection)
            outage.recovered(exchange=exchange)
        except DatabaseUnavailable as error:
            outage.failed(error, exchange=exchange)
            found = await _known_markets(parts.store, selection)
            if not found:
                return None
        return [market.native for market in found if market.exchange is exchange]

    return markets


async def _known_markets(store: HotStore, selection: Selection) -> list[Market]:
    try:
        return await read_known_markets(store, selection)
    except StoreUnavailable:
        return []


async def queue_funding(queue: JobQueue, exchange: Exchange) -> bool:
    """Queues a funding refresh; False if the store does not answer."""
    try:
        await queue.request("funding")
    except StoreUnavailable as error:
        log.warning("funding_not_queued", exchange=exchange, error=str(error))
        return False
    return True


async def server_ms(client: ExchangeClient, exchange: Exchange) -> int | None:
    """The exchange's time by REST; None if it cannot be had."""
    request = listing_request(exchange, Endpoint.TIME)
    try:
        parse = partial(parse_server_time, exchange)
        return await fetch_simple(CollectionRun(client), request, parse)
    except ExchangeError as error:
        log.warning("exchange_time_unavailable", exchange=exchange, cause=str(error))
        return None
