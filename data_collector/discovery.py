"""Fetches the markets that an exchange lists now, with their turnover; stores nothing."""

import structlog

from data_collector.listings import fetch_instruments, fetch_turnovers
from data_collector.run import CollectionRun
from market.markets import Exchange, ListedMarket
from market.unread_entries import UnreadEntry
from venues.errors import BadPayload, ExchangeError
from venues.venue import Endpoint

log = structlog.get_logger(__name__)


async def fetch_listed(
    run: CollectionRun, exchange: Exchange, quote: str, unread: list[UnreadEntry]
) -> list[ListedMarket]:
    """The perpetuals in `quote` that the exchange trades now. Adds to `unread` the entries
    that cannot be read.

    Raises ExchangeError; also for an empty list, which is more likely a broken answer."""
    instruments = await fetch_instruments(run, exchange, quote=quote, unread=unread)
    if not instruments:
        raise BadPayload(
            f"lists no {quote} perpetual", exchange=exchange, endpoint=Endpoint.INSTRUMENTS
        )
    turnovers = await _known_turnovers(run, exchange)
    return [
        ListedMarket(instrument.market, turnovers.get(instrument.market.native))
        for instrument in instruments
    ]


async def _known_turnovers(run: CollectionRun, exchange: Exchange) -> dict[str, float]:
    """Turnover by the exchange's id; empty if it cannot be had, as it is optional."""
    try:
        return await fetch_turnovers(run, exchange)
    except ExchangeError as error:
        log.warning("turnover_unavailable", exchange=exchange, cause=str(error))
        return {}
