"""Where a value begins to be impossible, and what of a list is told in the log."""

import json
from typing import Any

import pytest
import structlog

from data_collector.api_parser import (
    parse_all_funding,
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_schedule,
    parse_server_time,
    parse_tickers,
)
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.exchange_answers import ANSWERS, history_body
from tests.fixtures.markets import market
from venues.errors import BadPayload
from venues.reading import AnswerPage
from venues.venue import Endpoint

H1 = HOUR_MS
BINANCE = Exchange.BINANCE
X = market(BINANCE, "XUSDT")
PRICES = "impossible prices (high < low, or <= 0)"


def body(*entries: Any) -> bytes:
    return json.dumps(entries, separators=(",", ":")).encode()


def candle(time_ms: int, prices: str = "2 3 1 2") -> list[Any]:
    return [time_ms, *prices.split(), "5", time_ms + H1 - 1, "6", 1, "1", "1", "0"]


def interest(time_ms: int, value: str) -> dict[str, Any]:
    return {"symbol": "XUSDT", "sumOpenInterest": value, "timestamp": time_ms}


def settlement(time_ms: int, rate: str = "0.1", symbol: str = "XUSDT", **more: str) -> Any:
    return {"symbol": symbol, "fundingTime": time_ms, "fundingRate": rate, **more}


# An odd form, here an exponent, is read row by row.
@pytest.mark.parametrize("volume", ["5", "5e0"])
@pytest.mark.parametrize(
    ("prices", "possible"),
    [
        ("2 2 2 2", True),
        ("2 3 1 2", True),
        ("3 3 1 1", True),
        ("1 3 1 3", True),
        ("0.5 0.6 0.4 0.5", True),
        ("3 2 1 2", False),  # opens above its high
        ("2 2 1 3", False),  # closes above it
        ("1 3 2 2", False),  # opens below its low
        ("2 3 2 1", False),  # closes below it
        ("1 3 0 2", False),
        ("1 3 -1 2", False),
    ],
)
def test_possible_prices(volume: str, prices: str, possible: bool) -> None:
    sent = [candle(H1, prices), candle(2 * H1)]
    sent[0][5] = volume
    page = parse_klines(X, body(*sent), interval_ms=H1)
    assert [row[0] for row in page.rows] == [H1, 2 * H1][not possible :]
    assert page.left_out == (() if possible else (LeftOut(H1, PRICES),))
    assert (page.first_ms, page.last_ms, page.sent) == (H1, 2 * H1, 2)


def test_no_row_is_of_1970() -> None:
    page: AnswerPage[Any] = parse_klines(X, body(candle(0), candle(H1)), interval_ms=H1)
    assert [row[0] for row in page.rows] == [H1]
    assert page.left_out == (LeftOut(0, "time off the grid of 3600000 ms"),)
    assert (page.first_ms, page.last_ms, page.sent) == (H1, H1, 2)
    page = parse_open_interest(X, body(interest(0, "1"), interest(H1, "2")), interval_ms=H1)
    assert (list(page.rows), len(page.left_out)) == ([(H1, 2.0)], 1)
    assert parse_funding(X, body(settlement(1))).rows == [(1, 0.1)]


def test_candles_off_the_grid() -> None:
    page = parse_klines(X, body(candle(H1), candle(2 * H1 + 1)), interval_ms=H1)
    assert [row[0] for row in page.rows] == [H1]
    assert page.left_out == (LeftOut(2 * H1 + 1, "time off the grid of 3600000 ms"),)
    assert (page.first_ms, page.last_ms) == (H1, 2 * H1)


def test_open_interest_may_be_none_at_all() -> None:
    for others in ([], [interest(3 * H1, "-1")]):
        sent = [interest(H1, "0"), interest(2 * H1, "7"), *others]
        page = parse_open_interest(X, body(*sent), interval_ms=H1)
        assert list(page.rows) == [(H1, 0.0), (2 * H1, 7.0)]
        cause = "open interest is negative or not a number: -1.0"
        assert page.left_out == tuple(LeftOut(3 * H1, cause) for _ in others)


@pytest.mark.parametrize("value", ["inf", "Infinity", "nan", "1e999", "-inf"])
@pytest.mark.parametrize("exchange", list(Exchange))
def test_open_interest_that_is_no_number_is_left_out(exchange: Exchange, value: str) -> None:
    x = market(exchange, "XUSDT")
    rows = [ANSWERS[exchange].interest(x.native, t, n) for t, n in ((H1, "1"), (2 * H1, value))]
    page = parse_open_interest(x, history_body(x, Endpoint.OPEN_INTEREST, rows), interval_ms=H1)
    assert list(page.rows) == [(H1, 1.0)]
    assert [row.time_ms for row in page.left_out] == [2 * H1]


@pytest.mark.parametrize(
    ("late_ms", "rate", "cause"),
    [
        (0, "9.99", None),
        (MINUTE_MS - 1, "-9.99", None),
        (MINUTE_MS, "0.1", "time off the full hours at which funding is settled"),
        (-1, "0.1", "time off the full hours at which funding is settled"),
        (0, "10", "impossible funding rate: 10.0"),
        (0, "-10", "impossible funding rate: -10.0"),
    ],
)
def test_possible_settlements(late_ms: int, rate: str, cause: str | None) -> None:
    time_ms = 8 * H1 + late_ms
    page = parse_funding(X, body(settlement(time_ms, rate)))
    assert page.rows == ([] if cause else [(time_ms, float(rate))])
    assert page.left_out == ((LeftOut(time_ms, cause),) if cause else ())


def test_two_rates_within_a_minute_are_a_dispute() -> None:
    at_ms = 8 * H1
    page = parse_funding(X, body(settlement(at_ms + 1), settlement(at_ms + 47, "0.2")))
    assert (page.rows, page.disputed) == ([], (at_ms,))
    same = parse_funding(X, body(settlement(at_ms + 1), settlement(at_ms + 47)))
    assert (same.rows, same.disputed) == ([(at_ms + 1, 0.1)], ())


def test_the_settlements_of_all_symbols() -> None:
    page = parse_all_funding(
        BINANCE,
        body(
            settlement(9 * H1 + 3, symbol="A"),
            settlement(8 * H1, symbol="A"),
            settlement(8 * H1 + 5, "0.3", symbol="B"),
            settlement(8 * H1 + 2, "0.3", symbol="B"),  # the same, stamped otherwise
            settlement(8 * H1, "0.1", symbol="C"),
            settlement(8 * H1 + 1, "0.2", symbol="C"),  # disputed
            settlement(8 * H1, "11", symbol="D"),  # impossible
            settlement(7 * H1, symbol="E", rateType="Special"),
            settlement(10 * H1, symbol="F", rateType="Special"),
            settlement(8 * H1, "x", symbol="G"),
        ),
    )
    assert sorted(page.rows) == [("A", 8 * H1, 0.1), ("A", 9 * H1 + 3, 0.1), ("B", 8 * H1 + 2, 0.3)]
    assert (page.first_ms, page.last_ms, page.sent) == (7 * H1, 10 * H1, 10)
    assert parse_all_funding(BINANCE, body()) == AnswerPage((), sent=0)
    unreadable = parse_all_funding(BINANCE, body(settlement(H1, "x"), settlement(H1, "")))
    assert unreadable == AnswerPage((), sent=2)


@pytest.mark.parametrize("time_ms", [1_500_000_000_001, 9_999_999_999_999])
def test_possible_times_of_an_exchange(time_ms: int) -> None:
    assert parse_server_time(BINANCE, json.dumps({"serverTime": time_ms}).encode()) == time_ms


@pytest.mark.parametrize("time_ms", [0, 1_500_000_000_000, 10_000_000_000_000])
def test_impossible_times_of_an_exchange(time_ms: int) -> None:
    cause = f"binance time: server time out of range: {time_ms} ms"
    with pytest.raises(BadPayload, match=cause):
        parse_server_time(BINANCE, json.dumps({"serverTime": time_ms}).encode())


def _contract(symbol: str, **more: Any) -> dict[str, Any]:
    named = {"contractType": "PERPETUAL", "status": "TRADING", "baseAsset": symbol[:-4]}
    return {"symbol": symbol, **named, "quoteAsset": "USDT", "marginAsset": "USDT", **more}


@pytest.mark.parametrize(
    "endpoint", [Endpoint.INSTRUMENTS, Endpoint.TICKERS, Endpoint.PREMIUM_INDEX]
)
@pytest.mark.parametrize("bad", [0, 1, 4])
def test_entries_that_cannot_be_read_are_told(endpoint: Endpoint, bad: int) -> None:
    entries = [_contract("AUSDT"), *({"symbol": number} for number in range(bad))]
    with structlog.testing.capture_logs() as logs:
        if endpoint is Endpoint.INSTRUMENTS:
            page = parse_instruments(
                BINANCE, json.dumps({"symbols": entries}).encode(), quote="USDT"
            )
            assert [row.market.symbol for row in page.rows] == ["AUSDT"]
        elif endpoint is Endpoint.TICKERS:
            assert [row.native for row in parse_tickers(BINANCE, body(*entries))] == ["AUSDT"]
        else:
            tickers = parse_schedule(BINANCE, endpoint, body(*entries))
            assert [row.native for row in tickers] == ["AUSDT"]
    told = [
        (log["event"], log["exchange"], log["endpoint"], log["entries"], len(log["causes"]))
        for log in logs
    ]
    assert told == ([("list_entries_left_out", BINANCE, endpoint, bad, min(bad, 3))] if bad else [])


def test_contracts_that_cannot_be_read_are_named() -> None:
    entries = [_contract("AUSDT"), _contract("BUSDT", status=7)]
    page = parse_instruments(BINANCE, json.dumps({"symbols": entries}).encode(), quote="USDT")
    assert [entry.symbol for entry in page.unread] == ["BUSDT"]
