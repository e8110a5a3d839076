"""Candles as they are parsed: a row that cannot be is left out alone, numbers stay exact."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from data_collector.api_parser import parse_klines
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from market.candles import Candle
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.exchange_answers import ANSWERS, history_body
from tests.fixtures.markets import market
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4 = 4 * HOUR_MS
T0 = 1_700_000_000_000 - 1_700_000_000_000 % H4


def _klines(exchange: Exchange, rows: list[list[Any]]) -> bytes:
    x = market(exchange, "XUSDT")
    candle = ANSWERS[exchange].candle
    sent = [candle(row[0], H4, row[1:5], *row[5:]) for row in rows]
    return history_body(x, Endpoint.KLINES, sent)


WIRES: list[tuple[Exchange, Callable[[list[list[Any]]], bytes]]] = [
    (exchange, partial(_klines, exchange)) for exchange in Exchange
]


def _good_rows() -> list[list[Any]]:
    return [[T0 + n * H4, "10.5", "11.25", "9.75", "10", "123.40", "1300.5"] for n in range(3)]


@pytest.mark.parametrize(("exchange", "wire"), WIRES)
def test_good_rows_pass(exchange: Exchange, wire: Callable[[list[list[Any]]], bytes]) -> None:
    page = parse_klines(market(exchange, "XUSDT"), wire(_good_rows()), interval_ms=H4)
    assert page.rows[2] == Candle(T0 + 2 * H4, 10.5, 11.25, 9.75, 10.0, "123.40", "1300.5")
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
    x, candle = market(exchange, "XUSDT"), ANSWERS[exchange].candle
    if isinstance(row, list) and len(row) == 7 and row[0] == T0 + H4 + 61:
        row = candle(row[0], H4, row[1:5], *row[5:])
    elif isinstance(row, list) and len(row) == 7:
        row = [row[0], *candle(T0, H4, row[1:5], *row[5:])[1:]]
    sent = [candle(each[0], H4, each[1:5], *each[5:]) for each in _good_rows()]
    sent[1] = ["here"]
    body = history_body(x, Endpoint.KLINES, sent).decode().replace('["here"]', _json(row))
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
