"""Fetches the recent settlements of all contracts of an exchange at once."""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from data_collector.funding_rules import PUBLICATION_MS, due_instants
from data_collector.listings import fetch_recent_funding
from data_collector.run import CollectionRun
from market.markets import Exchange, FundingRow, FundingSeries
from market.settlements import settlement_instant
from venues.errors import ExchangeError

_MAX_PAGES: Final = 12

log = structlog.get_logger(__name__)


async def recent_settlements(
    run: CollectionRun, exchange: Exchange, start_ms: int, end_ms: int
) -> dict[str, list[FundingRow]]:
    """The settlements in the window by contract, incomplete if a request fails.

    One with two different rates is left out: the market's own are requested then.
    """
    window = range(start_ms, end_ms + 1)
    found: dict[str, dict[int, set[FundingRow]]] = {}
    for _ in range(_MAX_PAGES):
        try:
            page = await fetch_recent_funding(run, exchange, start_ms=start_ms, end_ms=end_ms)
        except ExchangeError as error:
            log.warning("recent_funding_unavailable", exchange=exchange, cause=str(error))
            break
        before = sum(map(len, found.values()))
        for native, funding_ms, rate in page.rows if page is not None else ():
            if funding_ms in window:
                said = found.setdefault(native, {})
                said.setdefault(settlement_instant(funding_ms), set()).add((funding_ms, rate))
        if page is None or page.last_ms is None or sum(map(len, found.values())) == before:
            break
        # Many symbols share an instant and a page may end among them: repeat from there.
        start_ms = page.last_ms
    return {native: _undisputed(rows) for native, rows in found.items()}


def is_complete(series: FundingSeries, rows: Sequence[FundingRow], now_ms: int) -> bool:
    """Whether the rows hold every settlement due, except one that may be unpublished."""
    instants = {settlement_instant(funding_ms) for funding_ms, _ in rows}
    return all(
        instant in instants or now_ms - instant < PUBLICATION_MS
        for instant in due_instants(series.checked_at_ms, now_ms, series.interval_hours)
    )


def _undisputed(said: Mapping[int, set[FundingRow]]) -> list[FundingRow]:
    """The settlements with one rate; `said`: what the exchange said of each instant."""
    return [min(rows) for _, rows in sorted(said.items()) if len({rate for _, rate in rows}) == 1]
