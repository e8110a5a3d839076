"""Snapshots of open interest as they are parsed: one that cannot be is left out alone."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_collector.api_parser import parse_funding, parse_open_interest
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.fixtures.exchange_answers import ANSWERS, history_body
from tests.fixtures.markets import market
from tests.venues.test_bybit import bybit_answer
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H4 = 4 * HOUR_MS
T0 = 1_700_000_000_000 - 1_700_000_000_000 % H4


def _interest(exchange: Exchange, pairs: list[tuple[Any, Any]]) -> bytes:
    x = market(exchange, "XUSDT")
    rows = [ANSWERS[exchange].interest(x.native, t, v) for t, v in pairs]
    return history_body(x, Endpoint.OPEN_INTEREST, rows)


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
    if exchange is BYBIT and value in ("", None):  # then it is half of the other number
        assert page.rows == [(T0, 4.0), (T0 + H4, 0.5), (T0 + 2 * H4, 8.0)]
        return
    assert page.rows == [(T0, 4.0), (T0 + 2 * H4, 8.0)]
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


@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_snapshot_without_a_time_does_not_set_the_bounds_of_a_page(exchange: Exchange) -> None:
    body = _interest(exchange, [("", "4"), (T0, "4")])
    page = parse_open_interest(market(exchange, "XUSDT"), body, interval_ms=H4)
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0, 2)
