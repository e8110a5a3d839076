"""Builds the URLs and parameters of requests from the venues' endpoint tables."""

from urllib.parse import quote
from zlib import crc32

from market.markets import Exchange, Market
from market.timeframes import Timeframe
from venues import VENUES
from venues.venue import Endpoint, EndpointTable, Request


def endpoint_table(exchange: Exchange, endpoint: Endpoint) -> EndpointTable:
    """The table of an endpoint; raises KeyError if the exchange lacks it."""
    return VENUES[exchange].table(endpoint)


def source_period(exchange: Exchange, endpoint: Endpoint, timeframe: Timeframe) -> Timeframe | None:
    """The period to request: `timeframe` itself, else the longest served Timeframe that divides
    it, else None."""
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
    as_of_ms: int | None = None,
) -> Request:
    """One page of a market's history.

    Both ends of the window are inclusive and always sent, because exchanges treat a start alone
    differently. `limit` is cut to the page limit. `as_of_ms`: the exchange's time; without it the
    rows are asked for where old ones are served, too.
    """
    table = endpoint_table(market.exchange, endpoint)
    limit = max(1, min(limit, table.page_limit))
    if period is not None:
        # Pages that descend have the newest rows of the window.
        oldest_ms = max(start_ms, end_ms + 1 - limit * period.interval_ms)
        turn = crc32(f"{market.symbol} {period}".encode())
        table = table.serving((oldest_ms, end_ms), period.interval_ms, as_of_ms, turn)
    if table.exclusive_start:
        start_ms = max(0, start_ms - 1)
    if table.exclusive_end:
        end_ms += 1
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
    """One page of data about the whole exchange: its clock, instruments or tickers.

    `encode`: percent-encode the cursor; else it goes into the URL as received.
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
    """One page of the settlements of all symbols from `start_ms` to `end_ms`, or the recent ones
    if the exchange takes no window.

    Raises KeyError for a venue without `recent_funding`.
    """
    recent = VENUES[exchange].recent_funding
    if recent is None:
        raise KeyError(f"{exchange} has no endpoint with the settlements of all symbols")
    endpoint, _ = recent
    table = endpoint_table(exchange, endpoint)
    if not table.page_limit:
        return listing_request(exchange, endpoint)
    query = [*table.fixed, (table.start, str(start_ms)), (table.end, str(end_ms))]
    query.append(("limit", str(table.page_limit)))
    return Request(exchange, endpoint, _target(table.path, query), table.counter, table.weight())


def _target(path: str, query: list[tuple[str, str]]) -> str:
    # Percent-encoded UTF-8: symbols may use any script.
    encoded = "&".join(
        [
            # The fast path: nearly all values are ASCII letters and digits.
            f"{name}={value if value.isalnum() and value.isascii() else quote(value, safe='')}"
            for name, value in query
        ]
    )
    return f"{path}?{encoded}" if encoded else path
