"""Trades and taker volumes as the exchanges' candles tell them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_collector.api_parser import parse_klines
from market.candles import Candles
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.fixtures.markets import market
from tests.venues.test_bybit import bybit_answer
from venues import VENUES, plain_candles

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
T0 = 1_767_225_600_000


@pytest.fixture(params=[True, False])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Both parsers: as a matrix, and row by row."""
    if not request.param:
        monkeypatch.setattr(plain_candles, "simdjson", None)
    yield request.param


def enumerate_hours(trades: Sequence[list[Any]]) -> Iterator[tuple[int, list[Any]]]:
    return ((T0 + place * HOUR_MS, told) for place, told in enumerate(trades))


def klines(*trades: list[Any]) -> bytes:
    prices = "10.5", "11.25", "9.75", "10"
    rows = [
        [time_ms, *prices, "123.40", time_ms + HOUR_MS - 1, "1300.5", *told, "0"]
        for time_ms, told in enumerate_hours(trades)
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def parsed(exchange: Exchange, body: bytes, *, wanted: bool = True) -> Candles:
    found = parse_klines(market(exchange, "XUSDT"), body, interval_ms=HOUR_MS, trade_columns=wanted)
    assert not found.left_out and not found.disputed
    return Candles.of(found.rows)


def test_binance_tells_them(fast: bool) -> None:
    body = klines([16911, "460.737", "29038581.72240"], [0, "0", "0.00"])
    told = [candle[7:] for candle in parsed(BINANCE, body)]
    assert told == [("16911", "460.737", "29038581.72240"), ("0", "0", "0.00")]
    narrow = parsed(BINANCE, body, wanted=False)
    assert narrow.values.shape == (2, 6) and len(narrow.texts) == 2
    assert {candle[7:] for candle in narrow} == {(None, None, None)}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ([None, "1.5", "2.5"], (None, "1.5", "2.5")),
        ([7, "much", "2.5"], ("7", None, "2.5")),
        ([7, "1.5", -2.5], ("7", "1.5", None)),
        ([7.5, "1.5", "2.5"], (None, "1.5", "2.5")),
        (["7", "15e-1", 2.5], ("7", "1.5", "2.5")),
    ],
)
def test_what_cannot_be_read_of_them_is_null_and_the_candle_stays(
    monkeypatch: pytest.MonkeyPatch, sent: list[Any], told: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(plain_candles, "simdjson", None)
    candles = parsed(BINANCE, klines([5, "1", "2"], sent))
    assert [candle[7:] for candle in candles] == [("5", "1", "2"), told]
    assert [candle.volume for candle in candles] == ["123.40", "123.40"]


def test_bybit_does_not(fast: bool) -> None:
    rows = [[T0 + n * HOUR_MS, "10.5", "11.25", "9.75", "10", "12.4", "13.5"] for n in range(3)]
    listed = [[str(row[0]), *row[1:]] for row in reversed(rows)]
    candles = parsed(BYBIT, bybit_answer(listed))
    assert not candles.is_wide and len(candles) == 3


def test_each_exchange_says_whether_it_tells_them() -> None:
    assert {exchange: VENUES[exchange].tells_trades for exchange in Exchange} == {
        BINANCE: True,
        BYBIT: False,
        Exchange.OKX: False,
    }


def test_recorded_candles_are_read_to_the_last_digit(fast: bool, recorded_data: Path) -> None:
    files = sorted((recorded_data / "binance").glob("klines_*.json"))
    assert files
    for path in files:
        rows = json.loads(path.read_text())
        interval_ms = rows[0][6] + 1 - rows[0][0]
        page = parse_klines(
            market(BINANCE, "XUSDT"),
            path.read_bytes(),
            interval_ms=interval_ms,
            trade_columns=True,
        )
        expected = [(str(row[8]), row[9], row[10]) for row in rows]
        assert [candle[7:] for candle in page.rows] == expected, path
