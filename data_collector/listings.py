"""Fetches lists of all markets of an exchange: contracts, turnover, funding schedule."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from data_collector.api_parser import (
    AnswerPage,
    Instrument,
    Ticker,
    parse_all_funding,
    parse_instruments,
    parse_schedule,
    parse_tickers,
)
from data_collector.retries import fetch_simple
from data_collector.run import CollectionRun
from data_collector.url_builder import (
    listing_request,
    recent_funding_request,
)
from market.markets import Exchange
from market.unread_entries import LISTED_TWICE, UnreadEntry
from venues import VENUES
from venues.errors import BadPayload, BadRequest
from venues.venue import Endpoint

_MAX_PAGES: Final = 50
_NAMED_IN_LOG: Final = 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FundingSchedule:
    """The interval in force now, and the next settlement if the exchange publishes it.

    `assumed`: no list gives the interval; it is the venue's default.
    """

    interval_hours: int
    next_ms: int | None
    assumed: bool = False


async def fetch_instruments(
    run: CollectionRun, exchange: Exchange, *, quote: str, unread: list[UnreadEntry] | None = None
) -> list[Instrument]:
    """The contracts to collect (see api_parser.parse_instruments), of all pages, each once.

    Adds to `unread` the entries that cannot be read, or that list a symbol as two different
    contracts.
    """
    parse = partial(parse_instruments, exchange, quote=quote)
    found: dict[str, Instrument] = {}
    disputed: set[str] = set()
    cursor = ""
    seen = {cursor}
    for _ in range(_MAX_PAGES):
        page = await _instruments_page(run, exchange, parse, cursor, seen)
        for row in page.rows:
            market, first = row.market, found.setdefault(row.market.symbol, row).market
            if (market, market.launched_ms) != (first, first.launched_ms):
                disputed.add(market.symbol)
        if unread is not None:
            unread.extend(page.unread)
        cursor = page.cursor
        if not cursor or not page.sent:
            return _undisputed(found, disputed, unread)
        if cursor in seen:
            break
        seen.add(cursor)
    raise BadPayload(
        "paging did not end: no page was the last one",
        exchange=exchange,
        endpoint=Endpoint.INSTRUMENTS,
        market=None,
    )


def _undisputed(
    found: dict[str, Instrument], disputed: set[str], unread: list[UnreadEntry] | None
) -> list[Instrument]:
    """The contracts without those that are listed as two different ones."""
    if disputed:
        log.warning("contracts_listed_twice", symbols=sorted(disputed)[:_NAMED_IN_LOG])
    if unread is not None:
        unread += (UnreadEntry(symbol, LISTED_TWICE, expected=True) for symbol in sorted(disputed))
    return [row for symbol, row in found.items() if symbol not in disputed]


async def _instruments_page(
    run: CollectionRun,
    exchange: Exchange,
    parse: Callable[[bytes], AnswerPage[Instrument]],
    cursor: str,
    seen: Set[str],
) -> AnswerPage[Instrument]:
    """The page at `cursor`; tries the cursor verbatim if the encoded form is rejected or ignored.

    A cursor arrives percent-encoded; the documentation does not say whether to encode it again.
    """
    request = listing_request(exchange, Endpoint.INSTRUMENTS, cursor=cursor)
    verbatim = listing_request(exchange, Endpoint.INSTRUMENTS, cursor=cursor, encode=False)
    if request == verbatim:
        return await fetch_simple(run, request, parse)
    try:
        page = await fetch_simple(run, request, parse)
    except BadRequest:
        return await fetch_simple(run, verbatim, parse)
    if page.cursor and page.cursor in seen:
        return await fetch_simple(run, verbatim, parse)
    return page


async def fetch_turnovers(run: CollectionRun, exchange: Exchange) -> dict[str, float]:
    """Turnover of the last 24 h in quote units, by the exchange's contract id."""
    request = listing_request(exchange, Endpoint.TICKERS)
    tickers = await fetch_simple(run, request, partial(parse_tickers, exchange))
    return {
        ticker.native: ticker.turnover_24h for ticker in tickers if ticker.turnover_24h is not None
    }


async def fetch_funding_schedule(
    run: CollectionRun, exchange: Exchange
) -> dict[str, FundingSchedule]:
    """When each contract settles, by the exchange's id; contracts without funding may be absent."""
    venue = VENUES[exchange]
    details: dict[str, Ticker] = {}
    listed: Sequence[Ticker] = ()
    for endpoint in venue.schedule:
        details |= {ticker.native: ticker for ticker in listed}
        listed = await fetch_simple(
            run,
            listing_request(exchange, endpoint),
            partial(parse_schedule, exchange, endpoint),
        )
    schedule = {}
    for ticker in listed:
        detail = details.get(ticker.native, ticker)
        hours = ticker.funding_interval_hours or detail.funding_interval_hours
        next_ms = ticker.next_funding_ms or detail.next_funding_ms
        known = hours or venue.default_funding_hours
        if known is not None:
            schedule[ticker.native] = FundingSchedule(known, next_ms, assumed=hours is None)
    return schedule


async def fetch_recent_funding(
    run: CollectionRun, exchange: Exchange, *, start_ms: int, end_ms: int
) -> AnswerPage[tuple[str, int, float]] | None:
    """The regular settlements of all symbols from `start_ms` on: (the exchange's id, time, rate).

    None if the exchange has no such request. One page only: `sent` equal to the page limit means
    that there are more; paging is not documented.
    """
    if VENUES[exchange].recent_funding is None:
        return None
    request = recent_funding_request(exchange, start_ms=start_ms, end_ms=end_ms)
    return await fetch_simple(run, request, partial(parse_all_funding, exchange))
