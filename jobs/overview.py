"""The overview of all assets, published after a run that has published the newest 5m rows.

It is made when all documents of the run are: it delays none of them. What goes wrong with it is
told in the log, and ends no run.
"""

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from cache_manager import StoredDocument
from documents.meta import DocumentCounts, DocumentMeta
from documents.names import OVERVIEW
from documents.overview import body_hash, body_of, overview_body, overview_document
from jobs.context import JobContext
from jobs.stored import previous_series
from jobs.stored_documents import read_stored
from market.assets.figures import Overview
from market.assets.overview import overview_of
from market.assets.readings import MarketHistory
from market.base import Base
from market.markets import FundingByMarket, Market, UnreadableSeries
from market.timeframes import Timeframe
from stores.hot.leases import Lease, LeaseLost, retry_under_lease

log = structlog.get_logger(__name__)


async def publish_overview(
    context: JobContext,
    markets: Sequence[Market],
    as_of_ms: int,
    lease: Lease,
    *,
    from_bases: bool,
) -> None:
    """Publishes the overview of these markets at `as_of_ms`, unless it tells what the stored one
    does. `from_bases`: the run has published the bases; else the 5m document. Raises LeaseLost.
    """
    try:
        await _publish(context, markets, as_of_ms, lease, from_bases=from_bases)
    except LeaseLost:
        raise
    except Exception as error:  # the run's documents are published: it is complete without this
        log.error("overview_not_published", error=f"{type(error).__name__}: {error}")


async def _publish(
    context: JobContext,
    markets: Sequence[Market],
    as_of_ms: int,
    lease: Lease,
    *,
    from_bases: bool,
) -> None:
    funding = next((known.book for known in context.funding.values()), {})  # as the run knows it
    if from_bases:
        histories = await _of_bases(context, markets)
    else:
        histories = await _of_document(context, markets, as_of_ms, lease)
    overview, body = await asyncio.to_thread(
        _made, histories, funding, as_of_ms, context.settings.quote
    )
    if overview.at is None:
        log.info("overview_without_candles", markets=len(histories))
        return
    told = await asyncio.to_thread(body_hash, body)
    meta = await retry_under_lease(lease, lambda: context.cache.read_meta(OVERVIEW))
    if meta is not None and await _stored_hash(context, meta, lease) == told:
        return
    version = await retry_under_lease(lease, lambda: context.cache.next_version(OVERVIEW, as_of_ms))
    updated_at_ms = context.now_ms()
    meta = await context.cache.save_to_cache(
        OVERVIEW,
        overview_document(body, version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms),
        version=version,
        as_of_ms=as_of_ms,
        updated_at_ms=updated_at_ms,
        lease=lease,
        counts=_counts(overview),
    )
    context.overview.place = meta.version, meta.content_hash
    context.overview.body_hash = told
    log.info("published", document=OVERVIEW, version=version, bytes=meta.stored_bytes)


def _made(
    histories: Sequence[MarketHistory], funding: FundingByMarket, as_of_ms: int, quote: str
) -> tuple[Overview, bytes]:
    overview = overview_of(histories, funding, as_of_ms)
    return overview, overview_body(overview, quote)


async def _of_bases(context: JobContext, markets: Sequence[Market]) -> list[MarketHistory]:
    """What the bases of the run tell; a market without one tells nothing."""
    bases: dict[str, Base] = {}
    for exchange in {market.exchange for market in markets}:
        bases |= context.bases.known(exchange)

    def read() -> list[MarketHistory]:
        return [
            MarketHistory.of_base(each, bases[each.key]) for each in markets if each.key in bases
        ]

    return await asyncio.to_thread(read)


async def _of_document(
    context: JobContext, markets: Sequence[Market], as_of_ms: int, lease: Lease
) -> list[MarketHistory]:
    """What the 5m document tells."""
    stored = await previous_series(context, Timeframe.M5, lease)
    if stored is None:
        return []

    def read() -> Iterable[MarketHistory]:
        for market in markets:
            if market.key not in stored:
                continue
            try:
                yield MarketHistory.of_series(stored[market.key], as_of_ms)
            except UnreadableSeries as error:
                log.error("stored_market_unreadable", market=market.key, error=str(error))

    return await asyncio.to_thread(lambda: list(read()))


async def _stored_hash(context: JobContext, meta: DocumentMeta, lease: Lease) -> str:
    """Of the body of the stored document, which is read only if this process does not know it;
    empty if it is damaged."""
    last = context.overview
    place = meta.version, meta.content_hash
    if last.place != place:

        def decode(document: StoredDocument) -> str:
            return body_hash(body_of(document.inflate()))

        found = await read_stored(context.cache, OVERVIEW, decode, lease)
        last.place, last.body_hash = place, found or ""
    return last.body_hash


def _counts(overview: Overview) -> DocumentCounts:
    """`missing`: the markets that are left out."""
    markets = [market for asset in overview.assets for market in asset.markets]
    stale = sum(market.stale_since is not None for market in markets)
    left_out = sum(len(asset.left_out) for asset in overview.assets)
    return DocumentCounts(len(markets), stale, left_out, overview.at, len(overview.assets))
