"""Endpoint -> URL and parameters: the venues as tables. Builds requests, sends nothing.

Source of every number: the exchanges' public API documentation (Binance USD-M futures; Bybit v5,
category linear), as of autumn 2026.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from market.markets import Exchange, Market
from market.timeframes import DAY_MS, Timeframe
from venues.venue import Endpoint, EndpointTable, Order, Request

_NATIVE: Final[Mapping[Timeframe, str]] = MappingProxyType(
    {timeframe: timeframe.value for timeframe in Timeframe}
)
_BINANCE_OI: Final[Mapping[Timeframe, str]] = MappingProxyType(
    {timeframe: timeframe.value for timeframe in Timeframe if timeframe is not Timeframe.H8}
)
_BYBIT_KLINE: Final[Mapping[Timeframe, str]] = MappingProxyType(
    {
        Timeframe.M5: "5",
        Timeframe.M15: "15",
        Timeframe.M30: "30",
        Timeframe.H1: "60",
        Timeframe.H2: "120",
        Timeframe.H4: "240",
        Timeframe.H6: "360",
        Timeframe.H12: "720",
        Timeframe.D1: "D",
    }
)
_BYBIT_OI: Final[Mapping[Timeframe, str]] = MappingProxyType(
    {
        Timeframe.M5: "5min",
        Timeframe.M15: "15min",
        Timeframe.M30: "30min",
        Timeframe.H1: "1h",
        Timeframe.H4: "4h",
        Timeframe.D1: "1d",
    }
)
_LINEAR: Final = (("category", "linear"),)

ENDPOINTS: Final[Mapping[Exchange, Mapping[Endpoint, EndpointTable]]] = {
    Exchange.BINANCE: {
        Endpoint.TIME: EndpointTable("/fapi/v1/time", "weight"),
        Endpoint.KLINES: EndpointTable(
            "/fapi/v1/klines",
            "weight",
            weights=((99, 1), (499, 2), (1000, 5), (1500, 10)),
            # 1500 are served, but 499 candles for a weight of 2 are the cheapest.
            page_limit=499,
            period="interval",
            periods=_NATIVE,
        ),
        Endpoint.OPEN_INTEREST: EndpointTable(
            "/futures/data/openInterestHist",
            "open_interest",
            page_limit=500,
            period="period",
            periods=_BINANCE_OI,
            horizon_ms=30 * DAY_MS,
        ),
        Endpoint.FUNDING: EndpointTable("/fapi/v1/fundingRate", "funding", page_limit=1000),
        Endpoint.FUNDING_INFO: EndpointTable("/fapi/v1/fundingInfo", "funding"),
        Endpoint.PREMIUM_INDEX: EndpointTable(
            "/fapi/v1/premiumIndex", "weight", weights=((10**9, 10),)
        ),
        Endpoint.INSTRUMENTS: EndpointTable("/fapi/v1/exchangeInfo", "weight"),
        Endpoint.TICKERS: EndpointTable("/fapi/v1/ticker/24hr", "weight", weights=((10**9, 40),)),
    },
    Exchange.BYBIT: {
        Endpoint.TIME: EndpointTable("/v5/market/time", "requests"),
        Endpoint.KLINES: EndpointTable(
            "/v5/market/kline",
            "requests",
            page_limit=1000,
            fixed=_LINEAR,
            period="interval",
            start="start",
            end="end",
            order=Order.DESCENDING,
            periods=_BYBIT_KLINE,
        ),
        Endpoint.OPEN_INTEREST: EndpointTable(
            "/v5/market/open-interest",
            "requests",
            page_limit=200,
            fixed=_LINEAR,
            period="intervalTime",
            order=Order.DESCENDING,
            periods=_BYBIT_OI,
        ),
        Endpoint.FUNDING: EndpointTable(
            "/v5/market/funding/history",
            "requests",
            page_limit=200,
            fixed=_LINEAR,
            order=Order.DESCENDING,
        ),
        Endpoint.INSTRUMENTS: EndpointTable(
            "/v5/market/instruments-info", "requests", page_limit=1000, fixed=_LINEAR
        ),
        Endpoint.TICKERS: EndpointTable("/v5/market/tickers", "requests", fixed=_LINEAR),
    },
}


def endpoint_table(exchange: Exchange, endpoint: Endpoint) -> EndpointTable:
    """The table of an endpoint; KeyError when the exchange has no such endpoint."""
    return ENDPOINTS[exchange][endpoint]


def source_period(exchange: Exchange, endpoint: Endpoint, timeframe: Timeframe) -> Timeframe:
    """The period to ask for: `timeframe` itself, or the longest served one that divides it."""
    served = ENDPOINTS[exchange][endpoint].periods
    if timeframe in served:
        return timeframe
    dividing = [period for period in served if timeframe.interval_ms % period.interval_ms == 0]
    return max(dividing, key=lambda period: period.interval_ms)


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

    Both ends of the window are inclusive and always sent: alone, `startTime` is ignored,
    rejected or counted from the end, depending on who is asked. `limit` is cut to the page limit.
    """
    table = ENDPOINTS[market.exchange][endpoint]
    limit = max(1, min(limit, table.page_limit))
    query = [*table.fixed, ("symbol", market.symbol)]
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
    table = ENDPOINTS[exchange][endpoint]
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

    Only where the symbol of the funding history is optional (`ALL_SYMBOLS_FUNDING`).
    """
    table = ENDPOINTS[exchange][Endpoint.FUNDING]
    query = [(table.start, str(start_ms)), (table.end, str(end_ms))]
    query.append(("limit", str(table.page_limit)))
    return Request(
        exchange, Endpoint.FUNDING, _target(table.path, query), table.counter, table.weight()
    )


# Where one funding request answers for every symbol; elsewhere `symbol` is required.
ALL_SYMBOLS_FUNDING: Final = frozenset({Exchange.BINANCE})


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
