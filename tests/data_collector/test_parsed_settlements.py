"""Settlements as they are parsed: one without a rate that can be is left out alone."""

import json
from typing import Any

import pytest

from data_collector.api_parser import parse_all_funding, parse_funding
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.fixtures.exchange_answers import ANSWERS, history_body
from tests.fixtures.markets import market
from venues.venue import Endpoint

BINANCE = Exchange.BINANCE
H4 = 4 * HOUR_MS
T0 = 1_700_000_000_000 - 1_700_000_000_000 % H4


def _settlements(exchange: Exchange, pairs: list[tuple[Any, Any]]) -> bytes:
    x = market(exchange, "XUSDT")
    rows = [ANSWERS[exchange].settlement(x.native, t, rate) for t, rate in pairs]
    return history_body(x, Endpoint.FUNDING, rows)


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
def test_one_without_a_time_does_not_set_the_bounds_of_a_page(exchange: Exchange) -> None:
    body = _settlements(exchange, [("", "0.2"), (T0, "0.1")])
    page = parse_funding(market(exchange, "XUSDT"), body)
    assert (page.first_ms, page.last_ms, page.sent) == (T0, T0, 2)
