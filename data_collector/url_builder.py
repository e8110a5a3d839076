"""Endpoint to URL and parameters, by the tables of the exchange; builds requests, sends nothing."""

from urllib.parse import quote

from market.markets import Exchange, Market
from market.timeframes import Timeframe
from venues import VENUES
from venues.venue import Endpoint, EndpointTable, Request


def endpoint_table(exchange: Exchange, endpoint: Endpoint) -> EndpointTable:
    """The table of an endpoint; KeyError when the exchange has no such endpoint."""
    return VENUES[exchange].table(endpoint)


def source_period(exchange: Exchange, endpoint: Endpoint, timeframe: Timeframe) -> Timeframe | None:
    """The period to ask for: `timeframe` itself, or the longest served one of ours that divides
    it; None where all are longer."""
    served = endpoint_table(exchange, endpoint).periods
    if timeframe in served:
        return timeframe
    dividing = [
        period
        for period in Timeframe
        if period in served and timeframe.interval_ms % period.interval_ms == 0
    ]
    return max(dividing, key=lambda period: period.interval_ms, default=None)


def history_request(
    market: Market,
    endpoint: Endpoint,
    *,
    start_ms: int,
    end_ms: int,
    limit: int,
    period: Timeframe | None = None,
) -> Request:
    """One page of a market's history.

    Both ends of the window are inclusive and always sent: alone, the start is ignored, rejected or
    counted from the end, depending on who is asked. `limit` is cut to the page limit.
    """
    table = endpoint_table(market.exchange, endpoint)
    limit = max(1, min(limit, table.page_limit))
    query = [*table.fixed, (table.symbol, market.native)]
    if period is not None:
        query.append((table.period, table.periods[period]))
    query += [(table.start, str(start_ms)), (table.end, str(end_ms)), ("limit", str(limit))]
    return Request(
        market.exchange,
        endpoint,
        _target(table.path, query),
        table.counter,
        table.weight(limit),
        market.symbol,
    )


def listing_request(
    exchange: Exchange, endpoint: Endpoint, *, cursor: str = "", encode: bool = True
) -> Request:
    """One page of something that is about the whole exchange: the clock, the markets, tickers.

    `encode`: the cursor as it was received is the value sent; else it stands in the URL as it is.
    """
    table = endpoint_table(exchange, endpoint)
    query = list(table.fixed)
    if table.page_limit:
        query.append(("limit", str(table.page_limit)))
    if cursor and encode:
        query.append(("cursor", cursor))
    target = _target(table.path, query)
    if cursor and not encode:
        target += f"&cursor={quote(cursor, safe='%')}"
    return Request(exchange, endpoint, target, table.counter, table.weight())


def recent_funding_request(exchange: Exchange, *, start_ms: int, end_ms: int) -> Request:
    """The settlements of all symbols in a window, from `start_ms` on, at most one page of them.

    Only where the symbol of the funding history is optional (Venue.all_symbols_funding).
    """
    table = endpoint_table(exchange, Endpoint.FUNDING)
    query = [*table.fixed, (table.start, str(start_ms)), (table.end, str(end_ms))]
    query.append(("limit", str(table.page_limit)))
    return Request(
        exchange, Endpoint.FUNDING, _target(table.path, query), table.counter, table.weight()
    )


def _target(path: str, query: list[tuple[str, str]]) -> str:
    # Percent-encoded UTF-8: symbols may hold any script.
    encoded = "&".join(
        [
            # Letters and digits of ASCII, as nearly all values are, stay what they are.
            f"{name}={value if value.isalnum() and value.isascii() else quote(value, safe='')}"
            for name, value in query
        ]
    )
    return f"{path}?{encoded}" if encoded else path
