"""Every status and code means what the exchanges' documentation says it means."""

from typing import Any

import pytest
from multidict import CIMultiDict

from budgets.refusals import judge
from data_collector.url_builder import listing_request
from market.markets import Exchange
from venues.errors import (
    BadRequest,
    Banned,
    ExchangeError,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
# This machine's clock is five minutes behind the exchange's.
EXCHANGE_NOW_MS = 1_783_098_508_000
NOW_MS = EXCHANGE_NOW_MS - 300_000
DATE = "Fri, 03 Jul 2026 17:08:28 GMT"
REQUESTS = {
    "weight": listing_request(BINANCE, Endpoint.TIME),
    "funding": listing_request(BINANCE, Endpoint.FUNDING_INFO),
    "bybit": listing_request(BYBIT, Endpoint.TIME),
}
NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>"
COUNTRY = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD>'
    b"<TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>"
    b"The Amazon CloudFront distribution is configured to block access from your country."
)
UNAVAILABLE = (
    b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. '
    b"Eligibility' in https://www.binance.com/en/terms.\"}"
)


def _binance(code: int, message: str = "") -> bytes:
    return b'{"code":%d,"msg":"%s"}' % (code, message.encode())


def _bybit(code: int, message: str = "") -> bytes:
    return b'{"retCode":%d,"retMsg":"%s","result":{},"time":1}' % (code, message.encode())


def _judge(
    request: str, status: int, body: bytes, headers: dict[str, str] | None = None
) -> ExchangeError | None:
    return judge(
        REQUESTS[request], status, CIMultiDict({"Date": DATE} | (headers or {})), body, NOW_MS
    )


@pytest.mark.parametrize(
    ("request_name", "status", "body", "kind"),
    [
        ("weight", 500, NGINX, SourceDown),
        ("weight", 502, NGINX, SourceDown),
        ("weight", 503, _binance(-1008, "overloaded"), SourceDown),
        ("weight", 503, _binance(0, "Service Unavailable."), SourceDown),
        ("weight", 408, _binance(-1007, "timeout"), SourceDown),
        ("weight", 400, _binance(-1001, "disconnected"), SourceDown),
        ("weight", 301, b"", SourceDown),
        ("weight", 200, b"", SourceDown),
        ("weight", 200, b" null ", SourceDown),
        ("weight", 400, _binance(-1121, "Invalid symbol."), SymbolGone),
        ("weight", 400, _binance(-1122, "Invalid symbol status."), SymbolGone),
        ("weight", 400, _binance(-4141, "Symbol is closed."), SymbolGone),
        ("weight", 400, _binance(-1130, "parameter 'startTime' is invalid."), WindowRefused),
        ("weight", 400, _binance(-1120, "Invalid interval."), BadRequest),
        ("weight", 400, _binance(-9999, "something new"), BadRequest),
        ("weight", 404, NGINX, BadRequest),
        ("weight", 400, b'{"status":"ERROR","code":"000002","data":null}', BadRequest),
        ("weight", 200, b'{"status":"ERROR","code":"000002","data":null}', BadRequest),
        ("weight", 451, UNAVAILABLE, Restricted),
        ("weight", 403, NGINX, Banned),
        ("weight", 418, _binance(-1003, "banned"), Banned),
        ("weight", 429, _binance(-1003, "Too many requests"), RateLimited),
        ("weight", 400, _binance(-1003, "Too many requests"), RateLimited),
        ("bybit", 200, _bybit(10000, "server timeout"), SourceDown),
        ("bybit", 200, _bybit(10016, "restart"), SourceDown),
        ("bybit", 200, _bybit(10001, "params error: symbol invalid"), SymbolGone),
        ("bybit", 200, _bybit(10001, "Not supported symbols"), SymbolGone),
        ("bybit", 200, _bybit(10029, "symbol is not on the whitelist"), SymbolGone),
        ("bybit", 200, _bybit(10001, "params error: intervalTime is invalid"), BadRequest),
        ("bybit", 200, _bybit(10006, "Too many visits!"), RateLimited),
        ("bybit", 200, _bybit(10018, "ip rate limit"), Banned),
        ("bybit", 200, _bybit(10009, "region"), Restricted),
        ("bybit", 200, _bybit(10024, "compliance"), Restricted),
        ("bybit", 403, b"access too frequent", Banned),
        ("bybit", 403, COUNTRY, Restricted),
        ("bybit", 403, b"", Banned),
        ("bybit", 429, NGINX, RateLimited),
        ("bybit", 502, NGINX, SourceDown),
        ("bybit", 400, b"", BadRequest),
    ],
)
def test_what_an_answer_means(
    request_name: str, status: int, body: bytes, kind: type[ExchangeError]
) -> None:
    error = _judge(request_name, status, body)
    assert type(error) is kind
    assert error.exchange is REQUESTS[request_name].exchange
    assert error.status == status
    assert "<" not in error.cause


@pytest.mark.parametrize(
    ("request_name", "body"),
    [
        ("weight", b"[]"),
        ("weight", b'{"serverTime":1786310475603}'),
        ("bybit", b'{"retCode":0,"retMsg":"OK","result":{}}'),
        ("bybit", b'{ "retCode" : 0 }'),
        ("weight", b"<html>maintenance</html>"),  # left to the parser, which knows what it wants
    ],
)
def test_answers_that_are_parsed(request_name: str, body: bytes) -> None:
    assert _judge(request_name, 200, body) is None


def test_an_error_page_is_quoted_without_its_tags_and_without_repeating_itself() -> None:
    page = (
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
        b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body></html>"
    )
    refusal = _judge("weight", 502, page)
    assert refusal is not None
    assert refusal.cause == "502 Bad Gateway nginx"


@pytest.mark.parametrize(
    ("request_name", "status", "body", "headers", "pause_s"),
    [
        ("weight", 429, _binance(-1003, "slow down"), {"Retry-After": "7"}, 7),
        # Until the exchange's next full minute, and a second for the Date's resolution.
        ("weight", 429, _binance(-1003, "slow down"), {}, 33),
        ("weight", 429, _binance(-1003, "slow down"), {"Date": "?"}, 60),
        # A whole minute at most: what is longer than that ends the exchange's part of a job.
        ("weight", 429, _binance(-1003), {"Date": "Fri, 20 Nov 2026 14:37:00 GMT"}, 60),
        # A window of five minutes that slides: nobody says when it has room again.
        ("funding", 429, _binance(-1003, "slow down"), {}, 300),
        ("weight", 418, _binance(-1003, "no"), {}, 300),
        ("weight", 418, _binance(-1003, "no"), {"Retry-After": "120"}, 120),
        (
            "weight",
            418,
            _binance(-1003, f"IP(1.2.3.4) banned until {EXCHANGE_NOW_MS + 150_000}."),
            {},
            150,
        ),
        (
            "weight",
            429,
            _binance(-1003, f"Way too many; IP(1.2.3.4) banned until {EXCHANGE_NOW_MS + 90_000}."),
            {"Retry-After": "3"},
            90,
        ),
        # A ban that ends in the past, or after the longest there is.
        ("weight", 418, _binance(-1003, f"banned until {EXCHANGE_NOW_MS - 1}"), {}, 300),
        ("weight", 418, _binance(-1003, "banned until 9999999999999"), {}, 4 * 86400),
        ("bybit", 403, b"access too frequent", {}, 600),
        ("bybit", 403, b"access too frequent", {"Retry-After": "20"}, 20),
        ("bybit", 200, _bybit(10006, "Too many visits!"), {}, 1),
        (
            "bybit",
            200,
            _bybit(10006, "Too many visits!"),
            {"X-Bapi-Limit-Reset-Timestamp": str(EXCHANGE_NOW_MS + 2500)},
            2.5,
        ),
    ],
)
def test_how_long_to_stay_away(
    request_name: str, status: int, body: bytes, headers: dict[str, str], pause_s: float
) -> None:
    error: Any = _judge(request_name, status, body, headers)
    assert (error.until_ms - NOW_MS) / 1000 == pause_s
    assert "1.2.3.4" not in str(error)
