"""The exchanges' lists of contracts -> the coins tables: what there is to collect.

Which contracts count is api_parser's; how markets are stored, and what becomes of those that
left, is database.py's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from data_collector.errors import BadPayload, ExchangeError
from data_collector.fetch_strategies import Run, Sender
from data_collector.listings import fetch_instruments, fetch_turnovers
from data_collector.url_builder import Endpoint
from database import Database, ListedMarket, SavedMarkets
from market.markets import Exchange

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """What each exchange that answered lists, what that changed, and why another is unknown.

    The coins of an exchange in `failures` are as they were.
    """

    found: Mapping[Exchange, int]
    saved: Mapping[Exchange, SavedMarkets]
    failures: Mapping[Exchange, str]
    requests: int
    retries: int


async def run_discovery(
    client: Sender, database: Database, exchanges: Sequence[Exchange], quote: str
) -> DiscoveryResult:
    """Stores the contracts that each exchange trades now, all exchanges side by side.

    Raises DatabaseUnavailable; an exchange that fails is named in `failures` and leaves its
    coins, and the other exchanges, alone.
    """
    run = Run(client)
    found: dict[Exchange, int] = {}
    saved: dict[Exchange, SavedMarkets] = {}
    failures: dict[Exchange, str] = {}

    async def discover(exchange: Exchange) -> None:
        seen_at_ms = client.clock.wall_ms()
        try:
            listed = await _fetch_listed(run, exchange, quote)
        except ExchangeError as error:
            log.warning("discovery_failed", exchange=exchange, cause=str(error))
            failures[exchange] = str(error)
            return
        saved[exchange] = await database.save_markets(exchange, listed, seen_at_ms=seen_at_ms)
        found[exchange] = len(listed)
        log.info(
            "discovered",
            exchange=exchange,
            markets=len(listed),
            added=saved[exchange].added,
            returned=saved[exchange].returned,
            left=saved[exchange].left,
        )

    try:
        async with asyncio.TaskGroup() as group:
            for exchange in exchanges:
                group.create_task(discover(exchange))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return DiscoveryResult(found, saved, failures, run.requests, run.retries)


async def _fetch_listed(run: Run, exchange: Exchange, quote: str) -> list[ListedMarket]:
    instruments = await fetch_instruments(run, exchange, quote=quote)
    if not instruments:
        # Rather an answer gone wrong than the end of every market.
        raise BadPayload(
            f"lists no {quote} perpetual", exchange=exchange, endpoint=Endpoint.INSTRUMENTS
        )
    turnovers = await _known_turnovers(run, exchange)
    return [
        ListedMarket(instrument.market, turnovers.get(instrument.market.symbol))
        for instrument in instruments
    ]


async def _known_turnovers(run: Run, exchange: Exchange) -> dict[str, float]:
    """Turnover by symbol; without it the markets are worth storing all the same."""
    try:
        return await fetch_turnovers(run, exchange)
    except ExchangeError as error:
        log.warning("no_turnover", exchange=exchange, cause=str(error))
        return {}
