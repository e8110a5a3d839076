"""What an answer means before its rows are looked at: fine, or which error, and for how long.

The exchanges' statuses and codes as tables. Decides nothing about what to do; errors.py's leaves
say that. Source: the exchanges' error pages and measured bodies.
"""

import re
from collections.abc import Mapping
from typing import Final

from budgets.rate_limits import LIMITS, exchange_time_ms, window_left_s
from data_collector.api_parser import read_error
from data_collector.wire import excerpt
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
from venues.venue import Request

Kind = type[ExchangeError]

# How long to stay away where the answer does not say; None: for the window of the limit.
_UNTOLD_BAN_S: Final[Mapping[Exchange, float]] = {Exchange.BINANCE: 300, Exchange.BYBIT: 600}
_UNTOLD_PAUSE_S: Final[Mapping[Exchange, float | None]] = {
    Exchange.BINANCE: None,
    Exchange.BYBIT: 1.0,
}
_SHORTEST_S: Final = 1.0
_LONGEST_S: Final = 4 * 24 * 3600.0  # bans end after three days; what says more is wrong

_STATUSES: Final[Mapping[Exchange, Mapping[int, Kind]]] = {
    Exchange.BINANCE: {
        408: SourceDown,
        418: Banned,
        429: RateLimited,
        451: Restricted,
    },
    Exchange.BYBIT: {
        408: SourceDown,
        429: RateLimited,
        451: Restricted,
    },
}
_CODES: Final[Mapping[Exchange, Mapping[str, Kind]]] = {
    Exchange.BINANCE: {
        **dict.fromkeys(("-1000", "-1001", "-1007", "-1008", "-1016"), SourceDown),
        "-1003": RateLimited,
        **dict.fromkeys(("-1121", "-1122", "-4141", "-4144"), SymbolGone),
        "-1130": WindowRefused,
    },
    Exchange.BYBIT: {
        **dict.fromkeys(("10000", "10016", "10429"), SourceDown),
        "10006": RateLimited,
        "10018": Banned,
        **dict.fromkeys(("10009", "10024"), Restricted),
        "10029": SymbolGone,
    },
}
# The same code for any wrong parameter: only the text tells that the contract is gone.
_SYMBOL_TEXT: Final = re.compile(r"symbol invalid|not supported symbol|symbol.*(closed|not exist)")
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")
_TOO_FREQUENT: Final = re.compile(r"too frequent|rate limit|too many")
_PLACE: Final = re.compile(r"restricted location|country|region|eligib")
_ADDRESS: Final = re.compile(r"IP ?\([^)]*\)")  # ours: no reader of a document needs it
_TAG: Final = re.compile(r"<!?/?[a-zA-Z][^>]*>")
_READ: Final = 2000  # characters of a body that is no JSON
_LONGEST_CAUSE: Final = 200
_EMPTY_BODIES: Final = frozenset({b"", b"null"})


def judge(
    request: Request, status: int, headers: Mapping[str, str], body: bytes, now_ms: int
) -> ExchangeError | None:
    """None when the body is to be parsed; `now_ms` is this machine's wall clock."""
    exchange = request.exchange
    if status == 200:
        if body.startswith((b"[", b'{"retCode":0,')):
            return None  # by far the most answers, known at a glance
        if body.strip() in _EMPTY_BODIES:
            return _error(SourceDown, "an empty answer", request, status)
    error = read_error(body)
    if status == 200 and error is None:
        return None
    text = f"{error.code} {error.message}".strip() if error else _plain_text(body)
    kind = _kind(exchange, status, error.code if error else None, text.lower())
    cause = _ADDRESS.sub("IP", text)[:_LONGEST_CAUSE]
    if issubclass(kind, RateLimited | Banned):
        pause_s = _pause_s(kind, request, headers, text.lower(), now_ms)
        return kind(
            cause,
            until_ms=now_ms + round(pause_s * 1000),
            exchange=exchange,
            endpoint=request.endpoint,
            market=request.symbol,
            status=status,
        )
    return _error(kind, cause, request, status)


def _error(kind: Kind, cause: str, request: Request, status: int) -> ExchangeError:
    return kind(
        cause,
        exchange=request.exchange,
        endpoint=request.endpoint,
        market=request.symbol,
        status=status,
    )


def _plain_text(body: bytes) -> str:
    """What a page of HTML, or whatever else was sent, says to its reader."""
    return _TAG.sub(" ", excerpt(body, _READ)).strip() or "no message"


def _kind(exchange: Exchange, status: int, code: str | None, text: str) -> Kind:
    if status == 403:
        # Too fast, a country, or something a firewall dislikes: only the text tells.
        return Restricted if _PLACE.search(text) and not _TOO_FREQUENT.search(text) else Banned
    if _BANNED_UNTIL.search(text):
        return Banned
    if kind := _STATUSES[exchange].get(status):
        return kind
    if status >= 500 or 300 <= status < 400:
        return SourceDown
    if code is not None and (kind := _CODES[exchange].get(code)):
        return kind
    return SymbolGone if _SYMBOL_TEXT.search(text) else BadRequest


def _pause_s(
    kind: Kind, request: Request, headers: Mapping[str, str], text: str, now_ms: int
) -> float:
    exchange_now_ms = exchange_time_ms(headers) or now_ms
    told = [0.0]
    if until := _BANNED_UNTIL.search(text):
        told.append((int(until[1]) - exchange_now_ms) / 1000)
    if (after := headers.get("Retry-After", "")).isdecimal():
        told.append(float(after))
    reset = headers.get("X-Bapi-Limit-Reset-Timestamp", "")
    if kind is RateLimited and reset.isdecimal():  # it ends a window, not a ban
        told.append((int(reset) - exchange_now_ms) / 1000)
    if max(told) > 0:
        return min(max(_SHORTEST_S, *told), _LONGEST_S)
    if kind is Banned:
        return _UNTOLD_BAN_S[request.exchange]
    if (untold_s := _UNTOLD_PAUSE_S[request.exchange]) is not None:
        return untold_s
    limit = LIMITS[request.exchange][request.counter]
    # A whole window is the most: one second more would end the exchange's part of a job.
    return min(window_left_s(limit, headers) or limit.window_s, limit.window_s)
