"""Answers as wholes: recorded ones become the recorded numbers, other bodies are told apart."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_collector.api_parser import (
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_server_time,
    parse_tickers,
)
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.fixtures.markets import market
from tests.venues.test_bybit import bybit_answer
from venues import VENUES
from venues.errors import BadPayload

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4 = 4 * HOUR_MS
T0 = 1_700_000_000_000 - 1_700_000_000_000 % H4


# --- recorded answers ----------------------------------------------------------------------------


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


@pytest.mark.parametrize("text", ['"list": null', '"list":[]', '"list": [ ]'])
def test_an_empty_or_null_list_is_no_rows(text: str) -> None:
    body = f'{{"retCode":0,"result":{{"symbol":"","category":"",{text}}}}}'.encode()
    null = b'{"retCode":0,"retMsg":"OK","result":null,"retExtInfo":{"list":[{"code":0}]}}'
    for sent in (body, null, b"\xef\xbb\xbf" + body):
        x = market(BYBIT, "XUSDT")
        assert parse_klines(x, sent, interval_ms=H4).sent == 0
        assert parse_open_interest(x, sent, interval_ms=H4).sent == 0
        assert parse_funding(x, sent).sent == 0
        assert parse_tickers(BYBIT, sent) == []
        assert parse_instruments(BYBIT, sent, quote="USDT").rows == []
    for sent in (b"[]", b" [ ] ", b"\xef\xbb\xbf[]"):
        assert parse_klines(market(BINANCE, "XUSDT"), sent, interval_ms=H4).sent == 0
        assert parse_funding(market(BINANCE, "XUSDT"), sent).sent == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'"text"',
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
