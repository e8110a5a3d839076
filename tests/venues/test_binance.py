"""Binance: its documented requests, recorded answers, and what its refusals mean."""

import csv
import gzip
import json
from pathlib import Path
from typing import Final

import pytest

from data_collector.api_parser import (
    parse_all_funding,
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_schedule,
)
from data_collector.url_builder import endpoint_table, history_request
from market.candles import Candle
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.markets import market
from tests.venues.samples import Samples
from venues.errors import (
    BadRequest,
    Banned,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.reading import Ticker
from venues.venue import Endpoint

BINANCE: Final = Exchange.BINANCE
BTC: Final = Market(BINANCE, "BTCUSDT", "BTC", "USDT")
H4: Final = 4 * HOUR_MS
T0: Final = 1_700_000_000_000 - 1_700_000_000_000 % H4

# As recorded 2026-07 and 2026-08, or as the documentation shows them.
SAMPLES: Final = Samples(
    market=BTC,
    time=(b'{"serverTime":1786310475603}', 1786310475603),
    klines=(
        b'[[1786816800000,"63043.40","63083.00","63011.60","63026.30","1116.068",1786820399999,'
        b'"70342488.01700",16911,"460.737","29038581.72240","0"],'
        b'[1786820400000,"63026.30","63029.70","63026.20","63029.70","70.640",1786823999999,'
        b'"4452283.73330",1524,"48.581","3061975.10960","0"]]',
        HOUR_MS,
        [
            Candle(1786816800000, 63043.4, 63083.0, 63011.6, 63026.3, "1116.068", "70342488.01700"),
            Candle(1786820400000, 63026.3, 63029.7, 63026.2, 63029.7, "70.640", "4452283.73330"),
        ],
    ),
    open_interest=(
        b'[{"symbol":"BTCUSDT","sumOpenInterest":"111856.66400000","sumOpenInterestValue":'
        b'"7051831069.12087200","CMCCirculatingSupply":"20070287.00000000",'
        b'"timestamp":1786816800000},'
        b'{"symbol":"BTCUSDT","sumOpenInterest":"111688.14000000","sumOpenInterestValue":'
        b'"7039340891.31501400","CMCCirculatingSupply":"20070287.00000000",'
        b'"timestamp":1786820400000}]',
        HOUR_MS,
        [(1786816800000, 111856.664), (1786820400000, 111688.14)],
    ),
    funding=(
        b'[{"symbol":"BTCUSDT","fundingTime":1786780800002,"fundingRate":"0.00006523",'
        b'"markPrice":"63050.01692754","rateType":"Regular"},'
        b'{"symbol":"BTCUSDT","fundingTime":1786809600000,"fundingRate":"0.00005311",'
        b'"markPrice":"63068.06537681","rateType":"Regular"}]',
        [(1786780800002, 0.00006523), (1786809600000, 0.00005311)],
    ),
    instruments=(
        b'{"timezone":"UTC","serverTime":1783098508000,"symbols":['
        b'{"symbol":"BTCUSDT","pair":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING",'
        b'"baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","onboardDate":1567965300000},'
        b'{"symbol":"TSLAUSDT","contractType":"TRADIFI_PERPETUAL","status":"TRADING",'
        b'"baseAsset":"TSLA","quoteAsset":"USDT","marginAsset":"USDT","onboardDate":1765000000000},'
        b'{"symbol":"ETHUSDC","contractType":"PERPETUAL","status":"TRADING",'
        b'"baseAsset":"ETH","quoteAsset":"USDC","marginAsset":"USDC","onboardDate":1700000000000},'
        b'{"symbol":"WAVESUSDT","contractType":"PERPETUAL","status":"SETTLING",'
        b'"baseAsset":"WAVES","quoteAsset":"USDT","marginAsset":"USDT","onboardDate":0}]}',
        [(BTC, "BTCUSDT", 1.0, 1567965300000, None)],
    ),
    turnovers=(
        b'[{"symbol":"BTCUSDT","quoteVolume":"15283.34"},{"symbol":"BTCUSDT_261225",'
        b'"quoteVolume":""}]',
        {"BTCUSDT": 15283.34, "BTCUSDT_261225": None},
    ),
    schedule={
        Endpoint.FUNDING_INFO: (
            b'[{"symbol":"LPTUSDT","adjustedFundingRateCap":"0.02","adjustedFundingRateFloor":'
            b'"-0.02","fundingIntervalHours":4,"disclaimer":false}]',
            [Ticker("LPTUSDT", funding_interval_hours=4)],
        ),
        Endpoint.PREMIUM_INDEX: (
            b'[{"symbol":"BTCUSDT","markPrice":"1","lastFundingRate":"0.0001",'
            b'"nextFundingTime":1783152000000,"time":1783140584000},'
            b'{"symbol":"ZRCUSDT","markPrice":"1","lastFundingRate":"","nextFundingTime":0,'
            b'"time":1783140584000}]',
            [Ticker("BTCUSDT", next_funding_ms=1783152000000), Ticker("ZRCUSDT")],
        ),
    },
    # Source: the error codes of the API's documentation.
    refusals=[
        (400, b'{"code":-1000,"msg":"An unknown error occurred."}', SourceDown),
        (400, b'{"code":-1001,"msg":"Internal error; unable to process."}', SourceDown),
        (408, b'{"code":-1007,"msg":"Timeout waiting for response."}', SourceDown),
        (503, b'{"code":-1008,"msg":"Server is currently overloaded."}', SourceDown),
        (503, b'{"code":-1016,"msg":"This service is no longer available."}', SourceDown),
        (429, b'{"code":-1003,"msg":"Too many requests queued."}', RateLimited),
        (418, b'{"code":-1003,"msg":"Way too many requests."}', Banned),
        (400, b'{"code":-1003,"msg":"IP(1.2.3.4) banned until 1786820500000."}', Banned),
        (403, b"<html>firewall</html>", Banned),
        (451, b'{"code":0,"msg":"Service unavailable from a restricted location"}', Restricted),
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', SymbolGone),
        (400, b'{"code":-1122,"msg":"Invalid symbol status."}', SymbolGone),
        (400, b'{"code":-4141,"msg":"Symbol is closed."}', SymbolGone),
        (400, b'{"code":-4144,"msg":"Invalid pair."}', SymbolGone),
        (400, b'{"code":-1130,"msg":"parameter startTime is invalid."}', WindowRefused),
        (400, b'{"code":-1120,"msg":"Invalid interval."}', BadRequest),
        (
            400,
            b'{"status":"ERROR","type":"VALID","code":"000002","errorData":{"limit":"limit can '
            b'not greater than 1000"},"data":null}',
            BadRequest,
        ),
    ],
)


def test_binance_candles() -> None:
    request = history_request(
        BTC,
        Endpoint.KLINES,
        start_ms=1_700_000_000_000,
        end_ms=1_700_014_400_000,
        limit=499,
        period=Timeframe.H4,
    )
    assert request.target == (
        "/fapi/v1/klines?symbol=BTCUSDT&interval=4h"
        "&startTime=1700000000000&endTime=1700014400000&limit=499"
    )
    assert (request.counter, request.weight, request.symbol) == ("weight", 2, "BTCUSDT")


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10)]
)
def test_the_weight_of_binance_candles_goes_by_the_limit(limit: int, weight: int) -> None:
    assert endpoint_table(BINANCE, Endpoint.KLINES).weight(limit) == weight


def _table(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(text.splitlines()))


def test_a_recorded_month_of_binance_candles(recorded_data: Path) -> None:
    body = (recorded_data / "binance/klines_BTCUSDT_4h_2024-01.json").read_bytes()
    page = parse_klines(market(BINANCE, "BTCUSDT"), body, interval_ms=H4)
    assert (page.sent, page.first_ms, page.last_ms) == (186, 1704067200000, 1706731200000)
    assert page.rows[-1] == Candle(
        1706731200000, 43316.3, 43348.9, 42257.6, 42560.5, "70437.129", "3006165002.39593"
    )
    wire = json.loads(body)
    assert [row.volume for row in page.rows] == [row[5] for row in wire]
    assert [row.turnover for row in page.rows] == [row[7] for row in wire]
    assert [row.high for row in page.rows] == [float(row[2]) for row in wire]


def test_recorded_open_interest_of_binance_keeps_its_gaps(recorded_data: Path) -> None:
    body = (recorded_data / "binance/openInterestHist_IOTAUSDT_4h_2026-03-20.json").read_bytes()
    page = parse_open_interest(market(BINANCE, "IOTAUSDT"), body, interval_ms=H4)
    series = _table(recorded_data / "history/binance_IOTAUSDT_oi_4h_2026-02-20_2026-03-20.csv")
    assert page.sent == 166
    recorded = {int(row["timestamp"]): float(row["sum_open_interest"]) for row in series}
    assert dict(page.rows) == {time_ms: recorded[time_ms] for time_ms, _ in page.rows}
    assert page.first_ms is not None
    assert page.last_ms == page.first_ms + 167 * H4


def test_open_interest_stamped_with_text_as_the_documentation_shows_it() -> None:
    body = json.dumps(
        [{"symbol": "XUSDT", "sumOpenInterest": "20403.63700000", "timestamp": str(T0)}]
    ).encode()
    page = parse_open_interest(market(BINANCE, "XUSDT"), body, interval_ms=H4)
    assert page.rows == [(T0, 20403.637)]


def test_recorded_funding_of_binance(recorded_data: Path) -> None:
    body = (recorded_data / "binance/fundingRate_BTCUSDT_30d_2026-07-10.json").read_bytes()
    page = parse_funding(market(BINANCE, "BTCUSDT"), body)
    assert page.sent == len(page.rows) == 90
    assert page.rows[-1] == (1783641600000, 0.00009058)
    for name in ("BTCUSDT_2019-09-10_empty-markPrice", "BTCUSDT_limit2_2026-08-15"):
        body = (recorded_data / f"binance/fundingRate_{name}.json").read_bytes()
        assert len(parse_funding(market(BINANCE, "BTCUSDT"), body).rows) == len(json.loads(body))


def test_extra_charges_are_left_out_but_count_for_paging() -> None:
    rows = [
        {"symbol": "X", "fundingTime": T0 + 3, "fundingRate": "0.0001", "rateType": "Regular"},
        {"symbol": "X", "fundingTime": T0 + 3, "fundingRate": "0.05", "rateType": "Special"},
        {"symbol": "X", "fundingTime": T0 + H4, "fundingRate": "0.06", "rateType": "Special"},
    ]
    page = parse_funding(market(BINANCE, "X"), json.dumps(rows).encode())
    assert page.rows == [(T0 + 3, 0.0001)]
    assert (page.first_ms, page.last_ms, page.sent) == (T0 + 3, T0 + H4, 3)


def test_funding_of_all_symbols_at_one_time() -> None:
    rows = [
        {"symbol": symbol, "fundingTime": T0, "fundingRate": rate, "rateType": kind}
        for symbol, rate, kind in [
            ("AUSDT", "0.1", "Regular"),
            ("龙虾USDT", "-0.2", "Regular"),
            ("TSLAUSDT", "0.3", "Special"),
        ]
    ]
    page = parse_all_funding(BINANCE, json.dumps(rows).encode())
    assert page.rows == [("AUSDT", T0, 0.1), ("龙虾USDT", T0, -0.2)]


def test_the_recorded_list_of_binance_contracts(recorded_data: Path) -> None:
    body = (recorded_data / "binance/exchangeInfo_2026-07-03T1708Z.json").read_bytes()
    page = parse_instruments(BINANCE, body, quote="USDT")
    wire = json.loads(body)["symbols"]
    kept = {row.market.symbol for row in page.rows}
    assert page.sent == 820
    # 528 coins and 2 indices of coins trade against USDT; counted in the file by hand.
    assert len(kept) == len(page.rows) == 530
    out = [row for row in wire if row["symbol"] not in kept]
    assert {row["status"] for row in wire if row["symbol"] in kept} == {"TRADING"}
    assert sum(row["status"] == "SETTLING" for row in out) == 123
    assert all(
        row["contractType"] != "PERPETUAL"
        or row["status"] != "TRADING"
        or row["quoteAsset"] != "USDT"
        for row in out
    )
    bitcoin = next(row.market for row in page.rows if row.market.symbol == "BTCUSDT")
    assert (bitcoin.base, bitcoin.quote, bitcoin.launched_ms) == ("BTC", "USDT", 1567965300000)
    assert any(not symbol.isascii() for symbol in kept)


def test_intervals_and_coming_settlements(recorded_data: Path) -> None:
    info = (recorded_data / "binance/fundingInfo_2026-07-04T2030Z.json").read_bytes()
    intervals = {
        ticker.native: ticker.funding_interval_hours
        for ticker in parse_schedule(BINANCE, Endpoint.FUNDING_INFO, info)
    }
    counted = {hours: list(intervals.values()).count(hours) for hours in (1, 4, 8)}
    assert counted == {1: 2, 4: 440, 8: 269}
    index = (recorded_data / "binance/premiumIndex_all_2026-07-04T0450Z.json").read_bytes()
    tickers = parse_schedule(BINANCE, Endpoint.PREMIUM_INDEX, index)
    assert len(tickers) == 823
    coming = {ticker.native: ticker.next_funding_ms for ticker in tickers}
    assert coming["BTCUSDT"] == 1783152000000
    assert coming["ZRCUSDT"] is None
