"""Recorded answers become the recorded numbers; anything that cannot be true is refused."""

import contextlib
import csv
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_collector.api_parser import (
    Candle,
    parse_all_funding,
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_schedule,
    parse_server_time,
    parse_tickers,
)
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.markets import market
from venues import VENUES
from venues.errors import BadPayload
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4 = 4 * HOUR_MS
T0 = 1_700_000_000_000 - 1_700_000_000_000 % H4


def _table(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(text.splitlines()))


# --- recorded answers ----------------------------------------------------------------------------


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
        (int(time), *map(float, prices), volume, turnover)
        for time, *prices, volume, turnover in reversed(wire)
    ]


def test_recorded_open_interest_of_binance_keeps_its_gaps(recorded_data: Path) -> None:
    body = (recorded_data / "binance/openInterestHist_IOTAUSDT_4h_2026-03-20.json").read_bytes()
    page = parse_open_interest(market(BINANCE, "IOTAUSDT"), body, interval_ms=H4)
    series = _table(recorded_data / "history/binance_IOTAUSDT_oi_4h_2026-02-20_2026-03-20.csv")
    assert page.sent == 166
    recorded = {int(row["timestamp"]): float(row["sum_open_interest"]) for row in series}
    assert dict(page.rows) == {time_ms: recorded[time_ms] for time_ms, _ in page.rows}
    assert page.first_ms is not None
    assert page.last_ms == page.first_ms + 167 * H4


def test_recorded_open_interest_of_bybit_is_halved_where_the_single_side_is_absent(
    recorded_data: Path,
) -> None:
    body = (recorded_data / "bybit/open-interest_BTCUSDT_1h_limit2_2026-08-15.json").read_bytes()
    page = parse_open_interest(market(BYBIT, "BTCUSDT"), body, interval_ms=HOUR_MS)
    assert page.rows == [(1786816800000, 65041.568 / 2), (1786820400000, 32496.027)]


def test_the_single_side_is_taken_where_it_is_given() -> None:
    body = _bybit([{"openInterest": "64", "singleOpenInterest": "31.5", "timestamp": str(T0)}])
    assert parse_open_interest(market(BYBIT, "XUSDT"), body, interval_ms=H4).rows == [(T0, 31.5)]
    body = _bybit([{"openInterest": "64", "singleOpenInterest": "", "timestamp": str(T0)}])
    assert parse_open_interest(market(BYBIT, "XUSDT"), body, interval_ms=H4).rows == [(T0, 32.0)]


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


def test_recorded_funding_of_bybit_is_turned_round(recorded_data: Path) -> None:
    body = (recorded_data / "bybit/funding-history_BTCUSDT_limit2_2026-08-15.json").read_bytes()
    rows = parse_funding(market(BYBIT, "BTCUSDT"), body).rows
    assert rows == [(1786780800000, 0.00004737), (1786809600000, 0.00004403)]


def test_extra_charges_are_left_out_but_count_for_paging() -> None:
    rows = [
        {"symbol": "X", "fundingTime": T0 + 3, "fundingRate": "0.0001", "rateType": "Regular"},
        {"symbol": "X", "fundingTime": T0 + 3, "fundingRate": "0.05", "rateType": "Special"},
        {"symbol": "X", "fundingTime": T0 + H4, "fundingRate": "0.06", "rateType": "Special"},
    ]
    page = parse_funding(market(BINANCE, "X"), json.dumps(rows).encode())
    assert page.rows == [(T0 + 3, 0.0001)]
    assert (page.first_ms, page.last_ms, page.sent) == (T0 + 3, T0 + H4, 3)


def test_a_settlement_twice_is_refused() -> None:
    row = {"symbol": "X", "fundingTime": T0, "fundingRate": "0.0001"}
    with pytest.raises(BadPayload, match=f"twice at {T0}"):
        parse_funding(market(BINANCE, "X"), json.dumps([row, row]).encode())
    with pytest.raises(BadPayload, match="two regular settlements"):
        parse_all_funding(BINANCE, json.dumps([row, row]).encode())


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
    rows = parse_instruments(BYBIT, _bybit([listed | change]), quote="USDT").rows
    assert len(rows) == kept
    assert all(row.funding_interval_hours == 4 for row in rows)


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


def test_tickers() -> None:
    day = json.dumps([{"symbol": "BTCUSDT", "quoteVolume": "15283.34"}]).encode()
    assert parse_tickers(BINANCE, day)[0].turnover_24h == 15283.34
    rows = [
        {
            "symbol": "BTCUSDT",
            "turnover24h": "2352.94",
            "nextFundingTime": "1673280000000",
            "fundingIntervalHour": "8",
        },
        {"symbol": "BTC-26DEC25", "turnover24h": "", "nextFundingTime": "0"},
    ]
    first, dated = parse_tickers(BYBIT, _bybit(rows))
    assert first == ("BTCUSDT", 2352.94, 1673280000000, 8)
    assert dated == ("BTC-26DEC25", None, None, None)


def test_clocks(recorded_data: Path) -> None:
    body = (recorded_data / "binance/time_2026-08-09.json").read_bytes()
    assert parse_server_time(BINANCE, body) == 1786310475603
    body = b'{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"}}'
    assert parse_server_time(BYBIT, body) == 1688639403423
    with pytest.raises(BadPayload, match="server time out of range: 17863104 ms"):
        parse_server_time(BINANCE, b'{"serverTime":17863104}')


def test_error_bodies(recorded_data: Path) -> None:
    read_error = VENUES[BINANCE].read_error
    body = (recorded_data / "binance/error_400_invalid_symbol.json").read_bytes()
    assert read_error(body) == ("-1121", "Invalid symbol.")
    body = (
        b'{"status":"ERROR","type":"VALID","code":"000002",'
        b'"errorData":{"limit":"limit can not greater than 1000"},"data":null}'
    )
    assert read_error(body) == ("000002", "limit can not greater than 1000")
    body = b'{"retCode":10001,"retMsg":"params error: symbol invalid","result":{},"time":1}'
    assert VENUES[BYBIT].read_error(body) == ("10001", "params error: symbol invalid")
    fine = [b'{"retCode":0,"retMsg":"OK","result":{}}', b"[]", b"{}", b'{"serverTime":1}']
    nothing = [b"", b"<html>502</html>", b"null", b"\xff\xfe", b'{"code"']
    for venue in VENUES.values():
        assert [venue.read_error(body) for body in fine + nothing] == [None] * 9


# --- nonsense ------------------------------------------------------------------------------------


def _bybit(rows: list[Any], symbol: str = "XUSDT", category: str = "linear") -> bytes:
    result = {"symbol": symbol, "category": category, "list": rows, "nextPageCursor": ""}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result}).encode()


def _binance_klines(rows: list[list[Any]]) -> bytes:
    wire = [
        [int(row[0]), *row[1:6], int(row[0]) + H4 - 1, row[6], 5, "1", "2", "0"] for row in rows
    ]
    return json.dumps(wire).encode()


def _bybit_klines(rows: list[list[Any]]) -> bytes:
    return _bybit([[str(row[0]), *row[1:]] for row in reversed(rows)])


WIRES: list[tuple[Exchange, Callable[[list[list[Any]]], bytes]]] = [
    (BINANCE, _binance_klines),
    (BYBIT, _bybit_klines),
]


def _good_rows() -> list[list[Any]]:
    return [[T0 + n * H4, "10.5", "11.25", "9.75", "10", "123.40", "1300.5"] for n in range(3)]


@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_good_rows_pass(exchange: Exchange, wire: Callable[[list[list[Any]]], bytes]) -> None:
    page = parse_klines(market(exchange, "XUSDT"), wire(_good_rows()), interval_ms=H4)
    assert page.rows[2] == (T0 + 2 * H4, 10.5, 11.25, 9.75, 10.0, "123.40", "1300.5")
    assert parse_klines(market(exchange, "XUSDT"), wire([]), interval_ms=H4).sent == 0


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (0, T0 + H4 + 60_000, "off the grid"),
        (0, T0, "out of order or twice"),
        (0, T0 - H4, "out of order or twice"),
        (1, "12", "impossible prices"),
        (2, "9", "impossible prices"),
        (3, "10.25", "impossible prices"),
        (4, "9.5", "impossible prices"),
        (3, "0", "impossible prices"),
        (3, "-9.75", "impossible prices"),
        (2, "nan", "impossible prices"),
        (2, "inf", "impossible prices"),
        (1, "nan", "impossible prices"),
        (3, "nan", "impossible prices"),
        (4, "nan", "impossible prices"),
        (1, "", "unexpected answer"),
        (1, None, "unexpected answer"),
        (4, "ten", "unexpected answer"),
        (4, [], "unexpected answer"),
        (5, "-1", "volume that is no plain number"),
        (5, "", "volume that is no plain number"),
        (5, "nan", "volume that is no plain number"),
        (5, "1e5", "volume that is no plain number"),
        (5, "1,2", "volume that is no plain number"),
        (5, ",", "volume that is no plain number"),
        (5, "１２", "volume that is no plain number"),
        (5, 7, "unexpected answer"),
        (6, "-0.5", "turnover that is no plain number"),
        (6, None, "unexpected answer"),
    ],
)
@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_one_bad_value_refuses_the_answer(
    exchange: Exchange,
    wire: Callable[[list[list[Any]]], bytes],
    column: int,
    value: Any,
    reason: str,
) -> None:
    rows = _good_rows()
    rows[1][column] = value
    with pytest.raises(BadPayload, match=reason) as caught:
        parse_klines(market(exchange, "XUSDT"), wire(rows), interval_ms=H4)
    assert (caught.value.exchange, caught.value.market) == (exchange, "XUSDT")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"[1]",
        b'"text"',
        b"[[1786816800000]]",
        b"<html><body>502 Bad Gateway</body></html>",
        b'[[1786816800000,"1","1","1","1","1",17868',
        b'{"retCode":0,"result":{}}',
        b'{"retCode":0,"result":{"symbol":"XUSDT","category":"linear","list":{}}}',
        b"\xff\xfe\x00",
    ],
)
@pytest.mark.parametrize("exchange", list(Exchange))
def test_bodies_that_are_something_else(exchange: Exchange, body: bytes) -> None:
    with pytest.raises(BadPayload):
        parse_klines(market(exchange, "XUSDT"), body, interval_ms=H4)
    with pytest.raises(BadPayload):
        parse_open_interest(market(exchange, "XUSDT"), body, interval_ms=H4)
    with pytest.raises(BadPayload):
        parse_funding(market(exchange, "XUSDT"), body)
    with pytest.raises(BadPayload):
        parse_server_time(exchange, body)
    with pytest.raises(BadPayload):
        parse_instruments(exchange, body, quote="USDT")
    with pytest.raises(BadPayload):
        parse_tickers(exchange, body)


@given(st.binary(max_size=200), st.sampled_from(list(Exchange)))
def test_no_body_crashes_a_parser(body: bytes, exchange: Exchange) -> None:
    for parse in (
        lambda: parse_klines(market(exchange, "X"), body, interval_ms=H4),
        lambda: parse_open_interest(market(exchange, "X"), body, interval_ms=H4),
        lambda: parse_funding(market(exchange, "X"), body),
    ):
        with contextlib.suppress(BadPayload):
            assert parse().rows is not None
    VENUES[exchange].read_error(body)


def test_the_answer_must_be_about_the_market_that_was_asked_for() -> None:
    row = [str(T0), "10.5", "11.25", "9.75", "10", "1", "10"]
    for body in (_bybit([row], symbol="YUSDT"), _bybit([row], category="inverse")):
        with pytest.raises(BadPayload, match="an answer about"):
            parse_klines(market(BYBIT, "XUSDT"), body, interval_ms=H4)
    other = json.dumps([{"symbol": "YUSDT", "sumOpenInterest": "1", "timestamp": T0}]).encode()
    with pytest.raises(BadPayload, match="another symbol"):
        parse_open_interest(market(BINANCE, "XUSDT"), other, interval_ms=H4)
    other = json.dumps([{"symbol": "YUSDT", "fundingRate": "1", "fundingTime": T0}]).encode()
    with pytest.raises(BadPayload, match="another symbol"):
        parse_funding(market(BINANCE, "XUSDT"), other)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "", "many"])
def test_open_interest_that_cannot_be(value: str) -> None:
    body = json.dumps([{"symbol": "XUSDT", "sumOpenInterest": value, "timestamp": T0}]).encode()
    with pytest.raises(BadPayload):
        parse_open_interest(market(BINANCE, "XUSDT"), body, interval_ms=H4)
    body = _bybit([{"openInterest": value, "timestamp": str(T0)}])
    with pytest.raises(BadPayload):
        parse_open_interest(market(BYBIT, "XUSDT"), body, interval_ms=H4)


def test_a_nan_between_numbers() -> None:
    values = [(T0, "5"), (T0 + H4, "nan"), (T0 + 2 * H4, "3")]
    rows = [{"symbol": "XUSDT", "sumOpenInterest": v, "timestamp": t} for t, v in values]
    with pytest.raises(BadPayload, match="not a number"):
        parse_open_interest(market(BINANCE, "XUSDT"), json.dumps(rows).encode(), interval_ms=H4)


def test_open_interest_off_its_grid() -> None:
    body = json.dumps(
        [{"symbol": "XUSDT", "sumOpenInterest": "1", "timestamp": T0 + 5 * MINUTE_MS}]
    ).encode()
    with pytest.raises(BadPayload, match="off the grid"):
        parse_open_interest(market(BINANCE, "XUSDT"), body, interval_ms=HOUR_MS)


@given(st.decimals(min_value=0, max_value=10**15, places=8, allow_nan=False, allow_infinity=False))
def test_numbers_are_the_float64_nearest_to_their_text(value: Any) -> None:
    text = f"{value:f}"
    body = json.dumps([{"symbol": "X", "sumOpenInterest": text, "timestamp": T0}]).encode()
    ((_, one_sided),) = parse_open_interest(market(BINANCE, "X"), body, interval_ms=H4).rows
    assert one_sided == float(text)
    body = _bybit([{"openInterest": text, "timestamp": str(T0)}], symbol="X")
    ((_, half),) = parse_open_interest(market(BYBIT, "X"), body, interval_ms=H4).rows
    assert half == float(value / 2)
    assert not math.isnan(half)
