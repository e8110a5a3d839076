"""Bybit: its documented requests, recorded answers, and what its refusals mean."""

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from data_collector.api_parser import (
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
)
from data_collector.url_builder import history_request, listing_request
from market.candles import Candle, new_candle
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.markets import market
from tests.venues.samples import Samples
from venues.errors import BadRequest, Banned, RateLimited, Restricted, SourceDown, SymbolGone
from venues.reading import Ticker
from venues.venue import Endpoint

BYBIT: Final = Exchange.BYBIT
BTC: Final = Market(BYBIT, "BTCUSDT", "BTC", "USDT")
H4: Final = 4 * HOUR_MS
T0: Final = 1_700_000_000_000 - 1_700_000_000_000 % H4

_TICKERS: Final = (
    b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT",'
    b'"turnover24h":"2352.94","nextFundingTime":"1673280000000","fundingIntervalHour":"8"},'
    b'{"symbol":"BTC-26DEC25","turnover24h":"","nextFundingTime":"0"}]},"time":1673272861686}'
)
# As recorded 2026-08, or as the documentation shows them.
SAMPLES: Final = Samples(
    market=BTC,
    time=(
        b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1688639403",'
        b'"timeNano":"1688639403423213947"},"retExtInfo":{},"time":1688639403423}',
        1688639403423,
    ),
    klines=(
        b'{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSDT","category":"linear","list":['
        b'["1786820400000","63027.8","63032.3","63027.7","63032.3","4.591","289363.9178"],'
        b'["1786816800000","63044.4","63089.6","63000.1","63027.8","385.721","24314058.6517"]]},'
        b'"retExtInfo":{},"time":1786820637599}',
        HOUR_MS,
        [
            Candle(1786816800000, 63044.4, 63089.6, 63000.1, 63027.8, "385.721", "24314058.6517"),
            Candle(1786820400000, 63027.8, 63032.3, 63027.7, 63032.3, "4.591", "289363.9178"),
        ],
    ),
    open_interest=(
        b'{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSDT","category":"linear","list":['
        b'{"openInterest":"64992.05400000","singleOpenInterest":"32496.02700000",'
        b'"timestamp":"1786820400000"},'
        b'{"openInterest":"65041.56800000","timestamp":"1786816800000"}],"nextPageCursor":""},'
        b'"retExtInfo":{},"time":1786820639447}',
        HOUR_MS,
        [(1786816800000, 32520.784), (1786820400000, 32496.027)],
    ),
    funding=(
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT",'
        b'"fundingRate":"0.00004403","fundingRateTimestamp":"1786809600000"},{"symbol":"BTCUSDT",'
        b'"fundingRate":"0.00004737","fundingRateTimestamp":"1786780800000"}]},"retExtInfo":{},'
        b'"time":1786820638506}',
        [(1786780800000, 0.00004737), (1786809600000, 0.00004403)],
    ),
    instruments=(
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT",'
        b'"symbolId":5,"contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC",'
        b'"quoteCoin":"USDT","launchTime":"1585526400000","deliveryTime":"0",'
        b'"unifiedMarginTrade":true,"fundingInterval":480,"settleCoin":"USDT",'
        b'"isPreListing":false,"preListingInfo":null,"symbolType":""},'
        b'{"symbol":"BTCPERP","contractType":"LinearPerpetual","status":"Trading",'
        b'"baseCoin":"BTC","quoteCoin":"USDC","settleCoin":"USDC","launchTime":"1640000000000",'
        b'"fundingInterval":480,"isPreListing":false,"symbolType":""}],"nextPageCursor":""},'
        b'"retExtInfo":{},"time":1735809771618}',
        [(BTC, "BTCUSDT", 1.0, 1585526400000, 8)],
    ),
    turnovers=(_TICKERS, {"BTCUSDT": 2352.94, "BTC-26DEC25": None}),
    schedule={
        Endpoint.TICKERS: (
            _TICKERS,
            [
                Ticker("BTCUSDT", next_funding_ms=1673280000000, funding_interval_hours=8),
                Ticker("BTC-26DEC25"),
            ],
        )
    },
    # Source: the error page of the API's documentation, and measured texts.
    refusals=[
        (200, b'{"retCode":10000,"retMsg":"Server Timeout","result":{}}', SourceDown),
        (200, b'{"retCode":10016,"retMsg":"Server error.","result":{}}', SourceDown),
        (200, b'{"retCode":"10016","retMsg":["Server error."],"result":{"list":[]}}', SourceDown),
        (200, b'{"retCode":10429,"retMsg":"System level frequency protection"}', SourceDown),
        (200, b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', RateLimited),
        (429, b"<html>system protection</html>", RateLimited),
        (200, b'{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit."}', Banned),
        (403, b"access too frequent", Banned),
        (403, b"configured to block access from your country", Restricted),
        (200, b'{"retCode":10009,"retMsg":"IP has been banned"}', Restricted),
        (200, b'{"retCode":10024,"retMsg":"Compliance rules triggered"}', Restricted),
        (200, b'{"retCode":10029,"retMsg":"The requested symbol is invalid"}', SymbolGone),
        (200, b'{"retCode":10001,"retMsg":"params error: symbol invalid"}', SymbolGone),
        (200, b'{"retCode":10001,"retMsg":"Not supported symbols","result":{}}', SymbolGone),
        (200, b'{"retCode":10001,"retMsg":"params error: Time is invalid"}', BadRequest),
        (404, b"", BadRequest),
    ],
)


def bybit_answer(rows: list[Any], symbol: str = "XUSDT", category: str = "linear") -> bytes:
    """The rows in the envelope that Bybit's lists come in."""
    result = {"symbol": symbol, "category": category, "list": rows, "nextPageCursor": ""}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result}).encode()


def test_bybit_candles() -> None:
    request = history_request(
        BTC,
        Endpoint.KLINES,
        start_ms=1_700_000_000_000,
        end_ms=1_700_014_400_000,
        limit=5000,
        period=Timeframe.D1,
    )
    assert request.target == (
        "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=D"
        "&start=1700000000000&end=1700014400000&limit=1000"
    )
    assert (request.counter, request.weight) == ("requests", 1)


def test_a_cursor_is_sent_as_the_value_it_is() -> None:
    cursor = "first%3D1INCHUSDT%26last%3DZRXUSDT"
    request = listing_request(BYBIT, Endpoint.INSTRUMENTS, cursor=cursor)
    assert parse_qs(urlsplit(request.target).query)["cursor"] == [cursor]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "1000BONKUSDT"])
def test_a_recorded_full_page_of_bybit_candles_is_turned_round(
    recorded_data: Path, symbol: str
) -> None:
    body = (recorded_data / f"bybit/kline_{symbol}_60_limit1000_2025-10-22.json").read_bytes()
    page = parse_klines(market(BYBIT, symbol), body, interval_ms=HOUR_MS)
    wire = json.loads(body)["result"]["list"]
    assert page.sent == len(page.rows) == 1000
    assert (page.first_ms, page.last_ms) == (int(wire[-1][0]), int(wire[0][0]))
    assert list(page.rows) == [
        new_candle((int(time), *map(float, prices), volume, turnover, None, None, None))
        for time, *prices, volume, turnover in reversed(wire)
    ]


def test_recorded_open_interest_of_bybit_is_halved_where_the_single_side_is_absent(
    recorded_data: Path,
) -> None:
    body = (recorded_data / "bybit/open-interest_BTCUSDT_1h_limit2_2026-08-15.json").read_bytes()
    page = parse_open_interest(market(BYBIT, "BTCUSDT"), body, interval_ms=HOUR_MS)
    assert page.rows == [(1786816800000, 65041.568 / 2), (1786820400000, 32496.027)]


def test_the_single_side_is_taken_where_it_is_given() -> None:
    body = bybit_answer(
        [{"openInterest": "64", "singleOpenInterest": "31.5", "timestamp": str(T0)}]
    )
    assert parse_open_interest(market(BYBIT, "XUSDT"), body, interval_ms=H4).rows == [(T0, 31.5)]
    body = bybit_answer([{"openInterest": "64", "singleOpenInterest": "", "timestamp": str(T0)}])
    assert parse_open_interest(market(BYBIT, "XUSDT"), body, interval_ms=H4).rows == [(T0, 32.0)]


def test_recorded_funding_of_bybit_is_turned_round(recorded_data: Path) -> None:
    body = (recorded_data / "bybit/funding-history_BTCUSDT_limit2_2026-08-15.json").read_bytes()
    rows = parse_funding(market(BYBIT, "BTCUSDT"), body).rows
    assert rows == [(1786780800000, 0.00004737), (1786809600000, 0.00004403)]


def test_recorded_lists_of_bybit_contracts(recorded_data: Path) -> None:
    body = (recorded_data / "bybit/instruments-info_linear_2023-02-24_testnet.json").read_bytes()
    page = parse_instruments(BYBIT, body, quote="USDT")
    assert (page.sent, len(page.rows), page.cursor) == (214, 193, "")
    assert {row.market.quote for row in page.rows} == {"USDT"}
    nft = page.rows[0]
    assert (nft.market.symbol, nft.market.base) == ("10000NFTUSDT", "10000NFT")
    assert (nft.market.launched_ms, nft.funding_interval_hours) == (1643007175000, 8)
    body = (recorded_data / "bybit/instruments-info_linear_PreLaunch_doc-2025.json").read_bytes()
    page = parse_instruments(BYBIT, body, quote="USDT")
    assert (page.sent, len(page.rows)) == (1, 0)
    assert page.cursor


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, 1),
        ({"symbolType": "innovation"}, 1),
        ({"symbolType": "stock"}, 0),
        ({"symbolType": "commodity"}, 0),
        ({"symbolType": "forex"}, 0),
        ({"contractType": "LinearFutures"}, 0),
        ({"status": "Delivering"}, 0),
        ({"quoteCoin": "USDC"}, 0),
        ({"settleCoin": "USDC"}, 0),
        ({"isPreListing": True}, 0),
    ],
)
def test_which_bybit_contracts_are_collected(change: dict[str, Any], kept: int) -> None:
    listed = {
        "symbol": "XUSDT",
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": "X",
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "symbolType": "",
        "launchTime": "1585526400000",
        "fundingInterval": 240,
    }
    rows = parse_instruments(BYBIT, bybit_answer([listed | change]), quote="USDT").rows
    assert len(rows) == kept
    assert all(row.funding_interval_hours == 4 for row in rows)
