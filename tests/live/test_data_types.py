"""Types of collectors: exact numbers, times in UTC, and clear words for what cannot be."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.data_types import (
    CollectorConfig,
    DataType,
    DataValidationError,
    MarketDataPoint,
    OHLCVData,
    read_decimal,
)

AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
CANDLE: dict[str, Any] = {
    "symbol": "BTC-USDT",
    "timeframe": "5m",
    "timestamp": AT,
    "open": "84.89",
    "high": "85.75",
    "low": "84.1",
    "close": "85.75",
    "volume": "1200.50",
}


def test_the_data_types_are_those_that_are_documented() -> None:
    assert {kind.name: kind.value for kind in DataType} == {
        "TICKER": "ticker",
        "TRADE": "trade",
        "ORDERBOOK": "orderbook",
        "CANDLE": "candle",
        "BALANCE": "balance",
    }


def test_numbers_of_a_candle_stay_exact() -> None:
    candle = OHLCVData(**CANDLE | {"volume": 0.1, "turnover": "102930.123456789012345678"})
    assert candle.open == Decimal("84.89")
    assert str(candle.volume) == "0.1"
    assert str(candle.turnover) == "102930.123456789012345678"
    assert (candle.trades_count, candle.close_time, candle.closed) == (None, None, None)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_read_by_its_shortest_text(number: float) -> None:
    read = read_decimal("price", number)
    assert float(read) == number
    assert len(str(read)) <= len(repr(number)) + 4  # 1e+22 is 1E+22


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=12, min_value=-(10**20), max_value=10**20
    )
)
def test_texts_and_decimals_stay_as_they_are(number: Decimal) -> None:
    assert read_decimal("price", str(number)) == number
    assert read_decimal("price", number) is number


@pytest.mark.parametrize(
    ("given_time", "read"),
    [
        (AT, AT),
        (datetime(2026, 11, 29, 12), AT),  # noqa: DTZ001 - that is the case
        (AT.astimezone(timezone(timedelta(hours=8))), AT),
        (1795953600000, AT),
        (1795953600123, AT + timedelta(milliseconds=123)),
        ("1795953600000", AT),
        ("2026-11-29T12:00:00Z", AT),
        ("2026-11-29T20:00:00+08:00", AT),
    ],
)
def test_times_become_utc(given_time: Any, read: datetime) -> None:
    point = MarketDataPoint("okx", "BTC-USDT", given_time, DataType.TICKER, {"last": "1"})
    assert point.timestamp == read
    assert point.timestamp.tzinfo is UTC


def test_a_point_is_a_plain_dataclass() -> None:
    point = MarketDataPoint("okx", "BTC-USDT", AT, "ticker", {"last": "1"})  # type: ignore[arg-type]
    assert asdict(point) == {
        "exchange": "okx",
        "symbol": "BTC-USDT",
        "timestamp": AT,
        "data_type": DataType.TICKER,
        "data": {"last": "1"},
    }


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"exchange": " "}, "exchange: ' ' is no text, or is blank"),
        ({"symbol": None}, "symbol: None is no text"),
        ({"timestamp": "noon"}, "timestamp: 'noon' is no ISO 8601 time"),
        ({"timestamp": None}, "timestamp: None is neither a datetime, UTC milliseconds nor"),
        ({"timestamp": True}, "timestamp: True is neither"),
        ({"timestamp": 10**30}, "is no time in milliseconds"),
        ({"timestamp": float("nan")}, "timestamp: nan is no time"),
        ({"data_type": "tick"}, "'tick' is none of ticker, trade, orderbook, candle, balance"),
        ({"data": ["1"]}, r"data: \['1'\] is no mapping"),
    ],
)
def test_a_point_that_cannot_be_says_why(changed: dict[str, Any], words: str) -> None:
    whole: dict[str, Any] = {
        "exchange": "okx",
        "symbol": "BTC-USDT",
        "timestamp": AT,
        "data_type": DataType.TICKER,
        "data": {},
    }
    with pytest.raises(DataValidationError, match=words):
        MarketDataPoint(**whole | changed)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"open": "x"}, "open: 'x' is no number"),
        ({"open": "nan"}, "open: NaN is not finite"),
        ({"open": float("inf")}, "open: Infinity is not finite"),
        ({"open": True}, "open: True is no number"),
        ({"open": None}, "open: None is no number"),
        ({"open": "9" * 101}, "open: .* is no number"),
        ({"close": "0"}, "close: 0 is not above 0"),
        ({"low": "-1"}, "low: -1 is not above 0"),
        ({"volume": "-0.1"}, "volume: -0.1 is below 0"),
        ({"turnover": "-1"}, "turnover: -1 is below 0"),
        ({"high": "85"}, "high: 85 is below another price"),
        ({"low": "85"}, "low: 85 is above another price"),
        ({"timeframe": "5 minutes"}, "timeframe: '5 minutes' is not of the form 1m, 5m, 1h"),
        ({"timeframe": "0m"}, "timeframe"),
        ({"trades_count": 1.5}, "trades_count: 1.5 is no whole number"),
        ({"trades_count": -1}, "trades_count: -1 is below 0"),
        ({"close_time": AT}, "close_time: is not after"),
        ({"closed": "1"}, "closed: '1' is neither True nor False"),
    ],
)
def test_a_candle_that_cannot_be_says_why(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(DataValidationError, match=words):
        OHLCVData(**CANDLE | changed)


def test_an_error_shows_no_more_of_a_value_than_fits() -> None:
    with pytest.raises(DataValidationError) as caught:
        OHLCVData(**CANDLE | {"open": "\x1b[31m" + "7" * 10_000})
    assert len(str(caught.value)) < 200
    assert "\x1b" not in str(caught.value)


@given(
    st.lists(
        st.decimals(min_value="0.00000001", max_value="9999999", places=8), min_size=4, max_size=4
    )
)
def test_a_candle_is_taken_if_and_only_if_its_prices_fit(prices: list[Decimal]) -> None:
    names = dict(zip(("open", "high", "low", "close"), prices, strict=True))
    fits = names["high"] == max(prices) and names["low"] == min(prices)
    if fits:
        assert OHLCVData(**CANDLE | names).high == max(prices)
    else:
        with pytest.raises(DataValidationError):
            OHLCVData(**CANDLE | names)


def test_a_configuration_has_the_documented_fields() -> None:
    config = CollectorConfig("okx_main", "okx", ["BTC-USDT", "BTC-USDT"], ["ticker", "trade"])
    assert asdict(config) == {
        "name": "okx_main",
        "exchange": "okx",
        "symbols": ["BTC-USDT"],
        "data_types": ["ticker", "trade"],
        "auto_restart": True,
        "health_check_interval": 30.0,
        "enabled": True,
    }


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "a/b"}, "name: 'a/b' must be 1 to 100 characters"),
        ({"name": ""}, "name: ''"),
        ({"symbols": "BTC-USDT"}, r"'BTC-USDT' must be a list, such as \['BTC-USDT'\]"),
        ({"symbols": [""]}, "symbol: ''"),
        ({"data_types": ["tick"]}, "'tick' is none of ticker"),
        ({"health_check_interval": 0}, "health_check_interval: 0 is not above 0"),
        ({"health_check_interval": "30"}, "health_check_interval: '30' is no number of seconds"),
        ({"health_check_interval": float("nan")}, "health_check_interval: nan is not above 0"),
    ],
)
def test_a_configuration_that_cannot_be_says_why(changed: dict[str, Any], words: str) -> None:
    whole: dict[str, Any] = {
        "name": "okx_main",
        "exchange": "okx",
        "symbols": ["BTC-USDT"],
        "data_types": ["ticker"],
    }
    with pytest.raises(DataValidationError, match=words):
        CollectorConfig(**whole | changed)
