"""Every status and code means what the exchanges' documentation says it means."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from multidict import CIMultiDict

from budgets.refusals import judge
from data_collector.url_builder import listing_request
from market.markets import Exchange
from tests.fixtures.cpu_time import least_cpu_s
from venues.errors import (
    BadRequest,
    Banned,
    Blocked,
    ExchangeError,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    TooFast,
    TurnedAway,
    WindowRefused,
)
from venues.venue import Endpoint

BINANCE, BYBIT, OKX = Exchange
# This machine's clock is five minutes behind the exchange's.
EXCHANGE_NOW_MS = 1_783_098_508_000
NOW_MS = EXCHANGE_NOW_MS - 300_000
DATE = "Fri, 03 Jul 2026 17:08:28 GMT"
REQUESTS = {
    "weight": listing_request(BINANCE, Endpoint.TIME),
    "funding": listing_request(BINANCE, Endpoint.FUNDING_INFO),
    "bybit": listing_request(BYBIT, Endpoint.TIME),
    "binance tickers": listing_request(BINANCE, Endpoint.TICKERS),
    "bybit tickers": listing_request(BYBIT, Endpoint.TICKERS),
    "okx": listing_request(OKX, Endpoint.TIME),
    "okx tickers": listing_request(OKX, Endpoint.TICKERS),
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


# --- networks in front of the exchanges ----------------------------------------------------------

_TOP = b"<!DOCTYPE html><html><head><title>%b</title><style>body {color: red}</style></head><body>"
# Shortened from pages that people quote in bug reports.
MOMENT = (
    _TOP % b"Just a moment..." + b"<h1>Checking your browser</h1><script>var a = '<b>'</script>"
)
DENIED = _TOP % b"Access Denied" + b"<H1>Access Denied</H1>You don't have permission to access"
RATE_1015 = _TOP % b"Access denied | x used Cloudflare to restrict access" + (
    b"<span>Error</span><span>1015</span> You are being rate limited"
)
CLOUDFRONT_503 = (
    b"<HTML><TITLE>ERROR: The request could not be satisfied</TITLE><H1>503 ERROR</H1>This "
    b"distribution exceeded the limit on requests per second.</HTML>"
)
FORBIDDEN = b"<html><head><title>403 Forbidden</title></head><body>nginx</body></html>"


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
@pytest.mark.parametrize(
    ("status", "body", "kind", "at_the_clock"),
    [
        (403, FORBIDDEN, Blocked, Banned),
        (403, b"", Blocked, Banned),
        (403, COUNTRY, Blocked, Restricted),
        (403, DENIED, Blocked, Banned),
        (451, b"", Blocked, Restricted),
        # No exchange is known to ban by these.
        (200, MOMENT, Blocked, TurnedAway),
        (503, MOMENT, Blocked, TurnedAway),
        (200, DENIED, Blocked, TurnedAway),
        # The exchange's own limit: nothing more may be sent.
        (403, b"access too frequent", Banned, Banned),
        (403, b"<html><body>access too frequent</body></html>", Banned, Banned),
        (
            403,
            b'{"retCode":10018,"code":10018,"retMsg":"rate limit","msg":"rate limit"}',
            Banned,
            Banned,
        ),
        # A content network's limit, whatever its status.
        (503, CLOUDFRONT_503, TooFast, TooFast),
        (403, RATE_1015, TooFast, TooFast),
        (200, RATE_1015, TooFast, TooFast),
        (429, RATE_1015, TooFast, TooFast),
        (503, b"Too many requests", TooFast, TooFast),
        (520, b"", TooFast, TooFast),
        (529, b"<html>overloaded</html>", TooFast, TooFast),
        # A backend in trouble.
        (503, b"Service Unavailable", SourceDown, SourceDown),
        (503, NGINX, SourceDown, SourceDown),
        (530, b"", SourceDown, SourceDown),
    ],
)
def test_who_refuses_us(
    exchange: str,
    status: int,
    body: bytes,
    kind: type[ExchangeError],
    at_the_clock: type[ExchangeError],
) -> None:
    """A firewall's refusal is a market's, unless it is the exchange's clock that is refused."""
    assert type(_judge(f"{exchange} tickers", status, body)) is kind
    clock = "weight" if exchange == "binance" else exchange
    assert type(_judge(clock, status, body)) is at_the_clock


@pytest.mark.parametrize(
    ("status", "body", "kind", "at_the_clock"),
    [
        (403, FORBIDDEN, Blocked, TurnedAway),
        (403, b"", Blocked, TurnedAway),
        (403, COUNTRY, Blocked, Restricted),
        (403, DENIED, Blocked, TurnedAway),
        (451, b"", Blocked, Restricted),
        (200, MOMENT, Blocked, TurnedAway),
        (503, MOMENT, Blocked, TurnedAway),
        (403, b"access too frequent", RateLimited, RateLimited),
        (403, RATE_1015, TooFast, TooFast),
        (429, RATE_1015, TooFast, TooFast),
        # Of its own servers the code counts: busy is no limit of ours.
        (429, b'{"code":"50013","msg":"Systems are busy","data":[]}', SourceDown, SourceDown),
        (429, b'{"code":"50011","msg":"Too Many Requests","data":[]}', RateLimited, RateLimited),
        (429, b'{"code":"59999","msg":"something new","data":[]}', RateLimited, RateLimited),
    ],
)
def test_an_exchange_that_is_not_known_to_ban(
    status: int, body: bytes, kind: type[ExchangeError], at_the_clock: type[ExchangeError]
) -> None:
    assert type(_judge("okx tickers", status, body)) is kind
    assert type(_judge("okx", status, body)) is at_the_clock


@pytest.mark.parametrize("request_name", ["weight", "bybit tickers"])
def test_a_network_that_says_how_long_is_obeyed(request_name: str) -> None:
    told = _judge(request_name, 429, RATE_1015, {"Retry-After": "30"})
    assert isinstance(told, RateLimited)
    assert told.until_ms == NOW_MS + 30_000
    assert told.by_network


def test_a_page_is_quoted_without_its_style_and_script() -> None:
    refusal = _judge("bybit tickers", 403, MOMENT)
    assert refusal is not None
    assert refusal.cause == "Just a moment... Checking your browser"


# --- bodies of any size and shape ----------------------------------------------------------------

MB = 1_000_000
SHAPES: dict[str, Callable[[int], bytes]] = {
    "a message that almost matches": lambda n: json.dumps(
        {"retCode": 10001, "retMsg": "symbol" * (n // 6), "code": 1, "msg": "IP(" * (n // 6)}
    ).encode(),
    "words of limits": lambda n: b"too many rate requests per access verify " * (n // 40),
    "open tags": lambda n: b"<a" * (n // 2),
    "open brackets": lambda n: b"<" * n,
    "open styles": lambda n: b"<style>" * (n // 7),
    "one headline": lambda n: b"x" * n,
    "spaces": lambda n: b" " * n,
    "spaces inside": lambda n: b'{"code":' + b" " * n + b"1}",
    "arrays in arrays": lambda n: b"[" * n,
    "arrays in an unread field": lambda n: (
        b'{"retCode":1,"code":1,"x":%b%b}' % (b"[" * (n // 2), b"]" * (n // 2))
    ),
    "objects in the details": lambda n: (
        b'{"code":1,"errorData":%b1%b}' % (b'{"a":' * (n // 6), b"}" * (n // 6))
    ),
    "digits": lambda n: b'{"retCode":%b,"code":%b}' % (b"9" * (n // 2), b"9" * (n // 2)),
    "digits in the details": lambda n: b'{"code":1,"errorData":{"a":%b}}' % (b"9" * n),
    "many details": lambda n: b'{"code":1,"errorData":{"a":[%b1]}}' % (b"1," * (n // 2)),
    "halves of characters": lambda n: (
        b'{"retCode":1,"code":1,"retMsg":"%b","msg":"%b"}'
        % (b"\\ud800" * (n // 12), b"\\ud800" * (n // 12))
    ),
    "a code of letters": lambda n: b'{"code":"%b"}' % (b"x" * n),
    "broken UTF-8": lambda n: b"\xff\xfe" * (n // 2),
}


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("request_name", ["binance tickers", "bybit tickers"])
@pytest.mark.parametrize("status", [200, 400, 403, 503])
def test_no_body_takes_long(name: str, request_name: str, status: int) -> None:
    for size in (MB // 8, MB):
        body = SHAPES[name](size)
        error = _judge(request_name, status, body)
        least_s = least_cpu_s(partial(_judge, request_name, status, body), 0.05)
        assert least_s < 0.05, f"{size} bytes: {least_s:.3f} s"
        assert error is None or len(str(error)) < 500


def test_a_body_of_16_mb_is_bounded_work() -> None:
    body = b'{"code":1,"errorData":{"a":[%b1]}}' % (b"1," * (8 * MB))
    assert least_cpu_s(partial(_judge, "binance tickers", 503, body), 0.05) < 0.05
    assert type(_judge("binance tickers", 503, body)) is SourceDown
