"""Recorded answers become the recorded numbers; a row that cannot be is left out alone."""

import contextlib
import json
import math
from collections.abc import Callable
from decimal import Decimal
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
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS, Timeframe
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


UNREADABLE = "its time cannot be read"
IMPOSSIBLE = "impossible prices (high < low, or <= 0)"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (1, "12", IMPOSSIBLE),
        (2, "9", IMPOSSIBLE),
        (3, "10.25", IMPOSSIBLE),
        (4, "9.5", IMPOSSIBLE),
        (4, "11.250001", IMPOSSIBLE),
        (3, "0", IMPOSSIBLE),
        (3, "-0", IMPOSSIBLE),
        (3, "-9.75", IMPOSSIBLE),
        (2, "nan", "high is not a number: 'nan'"),
        (2, "Infinity", "high is not a number: 'Infinity'"),
        (2, "1e999", "high is not a number: '1e999'"),
        (1, "0x10", "open is not a number: '0x10'"),
        (1, "1_0", "open is not a number: '1_0'"),
        (1, " 10.5", "open is not a number: '10.5'"),
        (1, "+10.5", "open is not a number: '+10.5'"),
        (1, "٣", "open is not a number: '\\\\u0663'"),
        (1, "10²", "open is not a number: '10\\\\u00b2'"),
        (4, True, "close is not a number: 'true'"),
        (1, "", "open is not a number: blank"),
        (1, None, "open is not a number: blank"),
        (4, "ten", "close is not a number: 'ten'"),
        (4, [], "close is not a number: '[]'"),
        (4, {"a": 1}, "close is not a number: '{\"a\": 1}'"),
        (5, "-1", "volume is not a number of at least 0: '-1'"),
        (5, -1e-7, "volume is not a number of at least 0: '-1e-07'"),
        (5, "", "volume is not a number of at least 0: blank"),
        (5, "NaN", "volume is not a number of at least 0: 'NaN'"),
        (5, "1,2", "volume is not a number of at least 0: '1,2'"),
        (5, "１２", "volume is not a number of at least 0: '\\\\uff11\\\\uff12'"),
        (5, "1e99", "volume is not a number of at least 0: '1e99'"),
        (5, "9" * 5000, f"volume is not a number of at least 0: '{'9' * 40}'"),
        (6, "-0.5", "turnover is not a number of at least 0: '-0.5'"),
        (6, None, "turnover is not a number of at least 0: blank"),
    ],
)
@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_one_bad_value_leaves_out_its_row_alone(
    exchange: Exchange,
    wire: Callable[[list[list[Any]]], bytes],
    column: int,
    value: Any,
    reason: str,
) -> None:
    rows = _good_rows()
    rows[1][column] = value
    page = parse_klines(market(exchange, "XUSDT"), wire(rows), interval_ms=H4)
    assert [row[0] for row in page.rows] == [T0, T0 + 2 * H4]
    assert page.left_out == (LeftOut(T0 + H4, reason),)
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0 + 2 * H4, 3)
    assert page.disputed == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([T0 + H4 + 61, *"11119", "9"], LeftOut(T0 + H4 + 61, f"time off the grid of {H4} ms")),
        (["", *"11119", "9"], LeftOut(T0, f"{UNREADABLE}: blank", after=True)),
        ([10**15, *"11119", "9"], LeftOut(T0, f"{UNREADABLE}: '{10**15}'", after=True)),
        ([-1, *"11119", "9"], LeftOut(T0, f"{UNREADABLE}: '-1'", after=True)),
        ([10**4999, *"11119", "9"], LeftOut(T0, f"{UNREADABLE}: '1{'0' * 39}'", after=True)),
        ([T0 + H4, "1", "1"], LeftOut(T0 + H4, "only 3 elements")),
        ([], LeftOut(T0, f"{UNREADABLE}: blank", after=True)),
        (None, LeftOut(T0, "Expected `array`, got `null`", after=True)),
        ({"t": 1}, LeftOut(T0, "Expected `array`, got `object`", after=True)),
        (["\ud800"], LeftOut(T0, "not JSON: '[\"\\\\ud800\"]'", after=True)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_row_that_is_none_is_left_out_alone(
    exchange: Exchange, row: Any, expected: LeftOut
) -> None:
    good = _good_rows()
    if exchange is BYBIT:
        texts = [json.dumps([str(time), *rest]) for time, *rest in reversed(good)]
    else:
        texts = [json.dumps([*rest[:6], 0, *rest[6:]]) for rest in good]
    text = _json(row)
    if exchange is BINANCE and isinstance(row, list) and len(row) == 7:
        text = _json([*row[:6], 0, row[6]])
    texts[1] = text
    body = f"[{','.join(texts)}]"
    if exchange is BYBIT:
        body = f'{{"retCode":0,"result":{{"symbol":"XUSDT","category":"linear","list":{body}}}}}'
    page = parse_klines(market(exchange, "XUSDT"), body.encode(), interval_ms=H4)
    assert [row[0] for row in page.rows] == [T0, T0 + 2 * H4]
    assert page.left_out == (expected,)
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0 + 2 * H4, 3)


def _json(value: Any) -> str:
    """JSON of a value with integers of any length, which json.dumps refuses."""
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    if isinstance(value, int) and value > 10**30:
        return "1" + "0" * round(math.log10(value))
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("2.829e-05", "0.00002829"),
        ("3E-7", "0.0000003"),
        ("1.5e+3", "1500"),
        (2.829e-05, "0.00002829"),
        (7, "7"),
        ("0e5", "0"),
        ("-0", "0"),
        ("123456789012345678.25", "123456789012345678.25"),
        ("12345678901234567.8e1", "123456789012345678"),
    ],
)
@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_volumes_with_exponents_are_exact(
    exchange: Exchange, wire: Callable[[list[list[Any]]], bytes], text: Any, exact: str
) -> None:
    rows = _good_rows()
    rows[0][5], rows[1][6] = text, text
    page = parse_klines(market(exchange, "XUSDT"), wire(rows), interval_ms=H4)
    assert page.left_out == ()
    assert (page.rows[0].volume, page.rows[1].turnover) == (exact, exact)
    merged = merge_data(
        page.rows, [], None, timeframe=Timeframe.H4, as_of_ms=T0 + 3 * H4, history_candles=9
    )
    sums = aggregate_4h_to_8h(merged.rows, window_start_ms=0, exact=merged.exact)
    for column, values in ((5, (exact, "123.40", "123.40")), (6, ("1300.5", exact, "1300.5"))):
        groups: dict[int, Decimal] = {}
        for n, value in enumerate(values):
            open_ms = (T0 + n * H4) // (2 * H4) * 2 * H4
            groups[open_ms] = groups.get(open_ms, Decimal(0)) + Decimal(value)
        assert [row[column] for row in sums] == [float(total) for total in groups.values()]


@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_more_elements_than_known_are_ignored(
    exchange: Exchange, wire: Callable[[list[list[Any]]], bytes]
) -> None:
    body = wire(_good_rows()).replace(b'"0"]', b'"0", {"new": [1]}]').replace(b"]]", b', "x"]]')
    page = parse_klines(market(exchange, "XUSDT"), body, interval_ms=H4)
    expected = parse_klines(market(exchange, "XUSDT"), wire(_good_rows()), interval_ms=H4)
    assert (list(page.rows), *page[1:]) == (list(expected.rows), *expected[1:])


@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_the_same_row_twice_is_one_row(
    exchange: Exchange, wire: Callable[[list[list[Any]]], bytes]
) -> None:
    first, second, third = _good_rows()
    again = [second[0], "10.50", *second[2:5], "1.234e2", "1300.50"]  # the same numbers
    page = parse_klines(
        market(exchange, "XUSDT"), wire([first, second, again, third]), interval_ms=H4
    )
    assert [row[0] for row in page.rows] == [T0, T0 + H4, T0 + 2 * H4]
    assert (page.sent, page.left_out, page.disputed) == (4, (), ())


@pytest.mark.parametrize("column", range(1, 7))
@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_two_different_rows_for_one_instant_are_a_disagreement(
    exchange: Exchange, wire: Callable[[list[list[Any]]], bytes], column: int
) -> None:
    first, second, third = _good_rows()
    other = [*second]
    other[column] = "10.75" if column != 3 else "9.5"
    page = parse_klines(
        market(exchange, "XUSDT"), wire([first, second, other, third]), interval_ms=H4
    )
    assert [row[0] for row in page.rows] == [T0, T0 + 2 * H4]
    assert (page.sent, page.left_out, page.disputed) == (4, (), (T0 + H4,))


@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_rows_in_another_order_are_sorted(
    exchange: Exchange, wire: Callable[[list[list[Any]]], bytes]
) -> None:
    first, second, third = _good_rows()
    page = parse_klines(market(exchange, "XUSDT"), wire([second, third, first]), interval_ms=H4)
    assert [row[0] for row in page.rows] == [T0, T0 + H4, T0 + 2 * H4]
    assert (page.first_ms, page.last_ms, page.left_out) == (T0, T0 + 2 * H4, ())


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


def _interest(exchange: Exchange, pairs: list[tuple[Any, Any]]) -> bytes:
    if exchange is BINANCE:
        rows = [{"symbol": "XUSDT", "sumOpenInterest": v, "timestamp": t} for t, v in pairs]
        return json.dumps(rows).encode()
    return bybit_answer([{"openInterest": v, "timestamp": str(t)} for t, v in reversed(pairs)])


NEGATIVE = "open interest is negative or not a number: "


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-1", NEGATIVE),
        ("nan", ""),
        ("inf", ""),
        ("", "open interest is not a number: blank"),
        (None, "open interest is not a number: blank"),
        ("many", "open interest is not a number: 'many'"),
        ([1], ""),
    ],
)
@pytest.mark.parametrize("exchange", list(Exchange))
def test_one_snapshot_that_cannot_be_is_left_out_alone(
    exchange: Exchange, value: Any, reason: str
) -> None:
    body = _interest(exchange, [(T0, "4"), (T0 + H4, value), (T0 + 2 * H4, "8")])
    page = parse_open_interest(market(exchange, "XUSDT"), body, interval_ms=H4)
    half = 1 if exchange is BINANCE else 2
    assert page.rows == [(T0, 4.0 / half), (T0 + 2 * H4, 8.0 / half)]
    (left_out,) = page.left_out
    assert left_out.reason.startswith(reason)
    assert left_out.slot_ms(H4) == T0 + H4
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0 + 2 * H4, 3)


@pytest.mark.parametrize("exchange", list(Exchange))
def test_snapshots_off_their_grid_twice_and_different(exchange: Exchange) -> None:
    pairs = [(T0, "4"), (T0, "4.0"), (T0 + H4, "6"), (T0 + H4, "6.2"), (T0 + H4 + 5, "9")]
    page = parse_open_interest(
        market(exchange, "XUSDT"), _interest(exchange, pairs), interval_ms=H4
    )
    assert [row[0] for row in page.rows] == [T0]
    assert page.disputed == (T0 + H4,)
    assert page.left_out == (LeftOut(T0 + H4 + 5, f"time off the grid of {H4} ms"),)


def test_the_half_of_a_blank_single_side() -> None:
    rows = [
        {"openInterest": "64", "singleOpenInterest": "many", "timestamp": str(T0)},
        {"openInterest": "64", "singleOpenInterest": None, "timestamp": T0 + H4},
        {"openInterest": "", "singleOpenInterest": "1e1", "timestamp": T0 + 2 * H4},
    ]
    page = parse_open_interest(market(BYBIT, "XUSDT"), bybit_answer(rows[::-1]), interval_ms=H4)
    assert page.rows == [(T0 + H4, 32.0), (T0 + 2 * H4, 10.0)]
    assert page.left_out == (LeftOut(T0, "open interest is not a number: 'many'"),)


def test_a_row_about_another_market_is_left_out_of_an_answer_about_ours() -> None:
    rows = [
        {"symbol": "XUSDT", "sumOpenInterest": "1", "timestamp": T0},
        {"symbol": "YUSDT", "sumOpenInterest": "2", "timestamp": T0 + H4},
    ]
    page = parse_open_interest(market(BINANCE, "XUSDT"), json.dumps(rows).encode(), interval_ms=H4)
    assert page.rows == [(T0, 1.0)]
    assert page.left_out == (LeftOut(T0 + H4, "open interest of another symbol: 'YUSDT'"),)
    settled = [
        {"symbol": symbol, "fundingTime": T0, "fundingRate": "0.1"} for symbol in ("XUSDT", "Y")
    ]
    page_of = parse_funding(market(BINANCE, "XUSDT"), json.dumps(settled).encode())
    assert page_of.rows == [(T0, 0.1)]


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


def _settlements(exchange: Exchange, pairs: list[tuple[Any, Any]]) -> bytes:
    if exchange is BINANCE:
        rows = [{"symbol": "XUSDT", "fundingTime": t, "fundingRate": rate} for t, rate in pairs]
        return json.dumps(rows).encode()
    return bybit_answer(
        [
            {"symbol": "XUSDT", "fundingRateTimestamp": str(t), "fundingRate": rate}
            for t, rate in reversed(pairs)
        ]
    )


@pytest.mark.parametrize(
    ("rate", "reason"),
    [
        ("10", "impossible funding rate: 10.0"),
        ("-10", "impossible funding rate: -10.0"),
        ("nan", "its rate is not a number: 'nan'"),
        ("", "its rate is not a number: blank"),
        (None, "its rate is not a number: blank"),
    ],
)
@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_settlement_without_a_rate_that_can_be_is_left_out_alone(
    exchange: Exchange, rate: Any, reason: str
) -> None:
    body = _settlements(exchange, [(T0, "0.1"), (T0 + H4, rate), (T0 + 2 * H4, "-9.99e-5")])
    page = parse_funding(market(exchange, "XUSDT"), body)
    assert page.rows == [(T0, 0.1), (T0 + 2 * H4, -9.99e-5)]
    assert page.left_out == (LeftOut(T0 + H4, reason),)
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0 + 2 * H4, 3)


@pytest.mark.parametrize("exchange", list(Exchange))
def test_equal_settlements_are_one_and_different_ones_a_disagreement(exchange: Exchange) -> None:
    pairs = [(T0, "0.1"), (T0, "1e-1"), (T0 + H4, "0.2"), (T0 + H4, "0.3"), (T0 + 2 * H4, "0.4")]
    page = parse_funding(market(exchange, "XUSDT"), _settlements(exchange, pairs))
    assert page.rows == [(T0, 0.1), (T0 + 2 * H4, 0.4)]
    assert page.disputed == (T0 + H4,)


def test_of_all_symbols_what_cannot_be_is_left_to_the_market_itself() -> None:
    rows = [
        {"symbol": symbol, "fundingTime": time_ms, "fundingRate": rate}
        for symbol, time_ms, rate in [
            ("A", T0, "0.1"),
            ("A", T0, "0.1"),
            ("B", T0, "0.2"),
            ("B", T0, "0.3"),
            ("C", T0, "11"),
            ("D", None, "0.1"),
            (None, T0, "0.1"),
            ("E", T0, ""),
            ("F", T0 + 1, "0.4"),
            ("F", T0 + 4, "0.4"),
            ("G", T0 + 1, "0.4"),
            ("G", T0 + 4, "0.5"),
        ]
    ]
    page = parse_all_funding(BINANCE, json.dumps(rows).encode())
    assert page.rows == [("A", T0, 0.1), ("F", T0 + 1, 0.4)]
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0 + 4, 12)


@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_row_without_a_time_does_not_set_the_bounds_of_a_page(exchange: Exchange) -> None:
    body = _settlements(exchange, [("", "0.2"), (T0, "0.1")])
    page = parse_funding(market(exchange, "XUSDT"), body)
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0, 2)
    body = _interest(exchange, [("", "4"), (T0, "4")])
    page_of = parse_open_interest(market(exchange, "XUSDT"), body, interval_ms=H4)
    assert (page_of.first_ms, page_of.last_ms, page_of.sent) == (T0, T0, 2)
