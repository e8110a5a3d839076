"""Errors of requests: what they say, and which the metrics count."""

import pytest

from market.markets import Exchange
from venues.errors import (
    ERROR_KINDS,
    BadRequest,
    Banned,
    ExchangeError,
    RateLimited,
    SourceDown,
)


def test_the_metrics_count_every_error_of_a_request_that_was_sent() -> None:
    assert list(ERROR_KINDS) == [
        *("SourceDown", "BadPayload", "RateLimited", "Banned", "TooFast"),
        *("Restricted", "TurnedAway", "Blocked"),
        *("ClockWrong", "SymbolGone", "WindowRefused", "BadRequest", "InternalError"),
    ]


def test_an_error_says_where_and_why() -> None:
    error = SourceDown(
        "no answer\nin 10 s",
        exchange=Exchange.BINANCE,
        endpoint="klines",
        market="BTCUSDT",
        status=503,
    )
    assert str(error) == "binance klines BTCUSDT: no answer in 10 s (HTTP 503)"
    assert error.cause == "no answer in 10 s"
    assert error.args == ("no answer in 10 s",)
    assert (error.exchange, error.endpoint) == (Exchange.BINANCE, "klines")
    assert (error.market, error.status) == ("BTCUSDT", 503)


def test_what_is_not_known_is_not_said() -> None:
    error = BadRequest("why", exchange=Exchange.BYBIT)
    assert str(error) == "bybit: why"
    assert (error.endpoint, error.market, error.status) == ("", None, None)


def test_what_an_error_quotes_is_cut() -> None:
    error = BadRequest("x" * 501, exchange=Exchange.BYBIT, market="m" * 101)
    assert str(error) == f"bybit {'m' * 100}: {'x' * 500}"


@pytest.mark.parametrize("kind", [RateLimited, Banned])
def test_an_error_that_ends_knows_when(kind: type[RateLimited] | type[Banned]) -> None:
    error = kind(
        "slow down",
        until_ms=7,
        exchange=Exchange.BYBIT,
        endpoint="time",
        market="BTCUSDT",
        status=429,
    )
    assert isinstance(error, ExchangeError)
    assert error.until_ms == 7
    assert str(error) == "bybit time BTCUSDT: slow down (HTTP 429)"
    bare = kind("slow down", until_ms=7, exchange=Exchange.BYBIT)
    assert (bare.endpoint, bare.market, bare.status) == ("", None, None)


def test_a_limit_is_the_exchanges_own_unless_told() -> None:
    assert RateLimited.by_network is False
