"""Recorded answers become the recorded numbers; anything that cannot be true is refused."""

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_collector.api_parser import (
    parse_all_funding,
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_server_time,
    parse_tickers,
)
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.markets import market
from tests.venues.test_bybit import bybit_answer
from venues import VENUES
from venues.errors import BadPayload

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4 = 4 * HOUR_MS
T0 = 1_700_000_000_000 - 1_700_000_000_000 % H4


# --- recorded answers ----------------------------------------------------------------------------


def test_a_settlement_twice_is_refused() -> None:
    row = {"symbol": "X", "fundingTime": T0, "fundingRate": "0.0001"}
    with pytest.raises(BadPayload, match=f"duplicated at {T0}"):
        parse_funding(market(BINANCE, "X"), json.dumps([row, row]).encode())
    with pytest.raises(BadPayload, match="two regular settlements"):
        parse_all_funding(BINANCE, json.dumps([row, row]).encode())


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
    first, dated = parse_tickers(BYBIT, bybit_answer(rows))
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


def _binance_klines(rows: list[list[Any]]) -> bytes:
    wire = [
        [int(row[0]), *row[1:6], int(row[0]) + H4 - 1, row[6], 5, "1", "2", "0"] for row in rows
    ]
    return json.dumps(wire).encode()


def _bybit_klines(rows: list[list[Any]]) -> bytes:
    return bybit_answer([[str(row[0]), *row[1:]] for row in reversed(rows)])


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
        (0, T0, "out of order or duplicated"),
        (0, T0 - H4, "out of order or duplicated"),
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
        (5, "-1", "volume is not a plain decimal number"),
        (5, "", "volume is not a plain decimal number"),
        (5, "nan", "volume is not a plain decimal number"),
        (5, "1e5", "volume is not a plain decimal number"),
        (5, "1,2", "volume is not a plain decimal number"),
        (5, ",", "volume is not a plain decimal number"),
        (5, "１２", "volume is not a plain decimal number"),
        (5, 7, "unexpected answer"),
        (6, "-0.5", "turnover is not a plain decimal number"),
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
    for body in (bybit_answer([row], symbol="YUSDT"), bybit_answer([row], category="inverse")):
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
    body = bybit_answer([{"openInterest": value, "timestamp": str(T0)}])
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
    body = bybit_answer([{"openInterest": text, "timestamp": str(T0)}], symbol="X")
    ((_, half),) = parse_open_interest(market(BYBIT, "X"), body, interval_ms=H4).rows
    assert half == float(value / 2)
    assert not math.isnan(half)


@pytest.mark.parametrize("time_ms", [10**15, -(10**30), 10**30])
@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_a_time_beyond_all_bounds_is_refused(
    exchange: Exchange, wire: Callable[[list[list[Any]]], bytes], time_ms: int
) -> None:
    rows = _good_rows()
    rows[2][0] = time_ms
    with pytest.raises(BadPayload):
        parse_klines(market(exchange, "XUSDT"), wire(rows), interval_ms=H4)
    row = {"symbol": "XUSDT", "sumOpenInterest": "1", "openInterest": "1", "timestamp": time_ms}
    body = json.dumps([row]).encode() if exchange is BINANCE else bybit_answer([row])
    with pytest.raises(BadPayload):
        parse_open_interest(market(exchange, "XUSDT"), body, interval_ms=H4)


@pytest.mark.parametrize("rate", ["10", "-10", "nan"])
def test_an_impossible_funding_rate_is_told_with_its_time(rate: str) -> None:
    body = json.dumps([{"symbol": "X", "fundingRate": rate, "fundingTime": T0}]).encode()
    with pytest.raises(BadPayload, match=rf"impossible funding rate or time: .* at {T0}"):
        parse_funding(market(BINANCE, "X"), body)
