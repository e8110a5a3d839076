"""The requests are the documented ones, with their documented cost."""

from urllib.parse import parse_qs, urlsplit

import pytest

from data_collector.url_builder import (
    history_request,
    listing_request,
    recent_funding_request,
    source_period,
)
from market.markets import DEFAULT_EXCHANGES, Exchange, Market
from market.timeframes import HOUR_MS, Timeframe
from venues.venue import Endpoint, Request

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
BTC = {exchange: Market(exchange, "BTCUSDT", "BTC", "USDT") for exchange in DEFAULT_EXCHANGES}


def _page(
    market: Market, endpoint: Endpoint, *, limit: int, period: Timeframe | None = None
) -> Request:
    return history_request(
        market,
        endpoint,
        start_ms=1_700_000_000_000,
        end_ms=1_700_014_400_000,
        limit=limit,
        period=period,
    )


@pytest.mark.parametrize(
    ("exchange", "endpoint", "most"),
    [
        (BINANCE, Endpoint.KLINES, 1500),
        (BINANCE, Endpoint.OPEN_INTEREST, 500),
        (BINANCE, Endpoint.FUNDING, 1000),
        (BYBIT, Endpoint.KLINES, 1000),
        (BYBIT, Endpoint.OPEN_INTEREST, 200),
        (BYBIT, Endpoint.FUNDING, 200),
    ],
)
def test_no_page_asks_for_more_than_is_served(
    exchange: Exchange, endpoint: Endpoint, most: int
) -> None:
    period = None if endpoint is Endpoint.FUNDING else Timeframe.H4
    request = _page(BTC[exchange], endpoint, limit=10_000, period=period)
    query = parse_qs(urlsplit(request.target).query)
    assert 0 < int(query["limit"][0]) <= most
    # Both ends, always: alone, a start is ignored, rejected or counted from the end.
    assert {"1700000000000", "1700014400000"} <= {value for (value,) in query.values()}


def test_open_interest_has_its_own_counter_and_path() -> None:
    request = _page(BTC[BINANCE], Endpoint.OPEN_INTEREST, limit=180, period=Timeframe.H12)
    assert request.target.startswith("/futures/data/openInterestHist?symbol=BTCUSDT&period=12h&")
    assert (request.counter, request.weight) == ("open_interest", 1)
    request = _page(BTC[BYBIT], Endpoint.OPEN_INTEREST, limit=180, period=Timeframe.M5)
    assert "&intervalTime=5min&startTime=" in request.target


@pytest.mark.parametrize(
    ("timeframe", "binance", "bybit"),
    [
        (Timeframe.M5, Timeframe.M5, Timeframe.M5),
        (Timeframe.H1, Timeframe.H1, Timeframe.H1),
        (Timeframe.H2, Timeframe.H2, Timeframe.H1),
        (Timeframe.H4, Timeframe.H4, Timeframe.H4),
        (Timeframe.H6, Timeframe.H6, Timeframe.H1),
        (Timeframe.H12, Timeframe.H12, Timeframe.H4),
        (Timeframe.D1, Timeframe.D1, Timeframe.D1),
    ],
)
def test_open_interest_comes_from_the_longest_period_that_fits(
    timeframe: Timeframe, binance: Timeframe, bybit: Timeframe
) -> None:
    assert source_period(BINANCE, Endpoint.OPEN_INTEREST, timeframe) is binance
    assert source_period(BYBIT, Endpoint.OPEN_INTEREST, timeframe) is bybit


def test_symbols_of_any_script_are_percent_encoded() -> None:
    market = Market(BINANCE, "龙虾USDT", "龙虾", "USDT")
    request = _page(market, Endpoint.FUNDING, limit=1000)
    assert "symbol=%E9%BE%99%E8%99%BEUSDT&" in request.target
    market = Market(BYBIT, "A&B=C USDT", "A", "USDT")
    request = _page(market, Endpoint.FUNDING, limit=1000)
    assert "&symbol=A%26B%3DC%20USDT&" in request.target


def test_requests_about_a_whole_exchange() -> None:
    targets = {
        (exchange, endpoint): listing_request(exchange, endpoint)
        for exchange in DEFAULT_EXCHANGES
        for endpoint in (Endpoint.TIME, Endpoint.INSTRUMENTS, Endpoint.TICKERS)
    }
    assert {key: request.target for key, request in targets.items()} == {
        (BINANCE, Endpoint.TIME): "/fapi/v1/time",
        (BINANCE, Endpoint.INSTRUMENTS): "/fapi/v1/exchangeInfo",
        (BINANCE, Endpoint.TICKERS): "/fapi/v1/ticker/24hr",
        (BYBIT, Endpoint.TIME): "/v5/market/time",
        (BYBIT, Endpoint.INSTRUMENTS): ("/v5/market/instruments-info?category=linear&limit=1000"),
        (BYBIT, Endpoint.TICKERS): "/v5/market/tickers?category=linear",
    }
    assert targets[BINANCE, Endpoint.TICKERS].weight == 40
    assert listing_request(BINANCE, Endpoint.PREMIUM_INDEX).weight == 10
    assert listing_request(BINANCE, Endpoint.FUNDING_INFO).counter == "funding"


def test_the_latest_funding_of_all_symbols() -> None:
    request = recent_funding_request(BINANCE, start_ms=5, end_ms=HOUR_MS)
    assert request.target == "/fapi/v1/fundingRate?startTime=5&endTime=3600000&limit=1000"
    assert request.counter == "funding"
