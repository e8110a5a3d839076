"""Classifies an exchange's answer: success, or which error, with the length of a pause or ban.

Uses the venue's tables; the error classes in venues/errors.py say how callers react.
"""

import re
from collections.abc import Mapping
from typing import Final

from budgets.rate_limits import exchange_time_ms, window_left_s
from venues import VENUES
from venues.errors import (
    BadRequest,
    Banned,
    ExchangeError,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
)
from venues.reading import excerpt
from venues.venue import Kind, Request, Venue

_SHORTEST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 4 * 24 * 3600.0  # bans take three days at most; more is wrong
_TOO_FREQUENT: Final = re.compile(r"too frequent|rate limit|too many")
_LOCATION: Final = re.compile(r"restricted location|country|region|eligib")
_IP_ADDRESS: Final = re.compile(r"IP ?\([^)]*\)")  # ours; readers of a document do not need it
_TAG: Final = re.compile(r"<!?/?[a-zA-Z][^>]*>")
_HEADLINE_TWICE: Final = re.compile(r"^(.{4,100}?) \1(?= |$)")  # in the title and on the page
_EXCERPT: Final = 2000  # characters of a body that is not JSON
_LONGEST_CAUSE: Final = 200
_EMPTY_BODIES: Final = frozenset({b"", b"null"})


def judge(
    request: Request, status: int, headers: Mapping[str, str], body: bytes, now_ms: int
) -> ExchangeError | None:
    """The error an answer stands for, or None for success; `now_ms`: this machine's wall clock."""
    venue = VENUES[request.exchange]
    if status == 200:
        if body.startswith(venue.success_prefix):
            return None  # the fast path of most answers
        if body.strip() in _EMPTY_BODIES:
            return _error(SourceDown, "an empty answer", request, status)
    error = venue.read_error(body)
    if status == 200 and error is None:
        return None
    text = f"{error.code} {error.message}".strip() if error else _plain_text(body)
    kind = _kind(venue, status, error.code if error else None, text.lower())
    cause = _IP_ADDRESS.sub("IP", text)[:_LONGEST_CAUSE]
    if issubclass(kind, RateLimited | Banned):
        pause_s = _pause_s(venue, kind, request, headers, text.lower(), now_ms)
        return kind(
            cause,
            until_ms=now_ms + round(pause_s * 1000),
            exchange=request.exchange,
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
    """The text of a body that is not JSON, such as an HTML page."""
    text = " ".join(_TAG.sub(" ", excerpt(body, _EXCERPT)).split())
    return _HEADLINE_TWICE.sub(r"\1", text) or "no message"


def _kind(venue: Venue, status: int, code: str | None, text: str) -> Kind:
    if status == 403:
        # Rate limit, location or firewall: only the text distinguishes them.
        return Restricted if _LOCATION.search(text) and not _TOO_FREQUENT.search(text) else Banned
    if _ban_ends_ms(venue, text):
        return Banned
    if kind := venue.statuses.get(status):
        return kind
    if status >= 500 or 300 <= status < 400:
        return SourceDown
    if code is not None and (kind := venue.codes.get(code)):
        return kind
    gone = venue.symbol_gone is not None and venue.symbol_gone.search(text)
    return SymbolGone if gone else BadRequest


def _ban_ends_ms(venue: Venue, text: str) -> int | None:
    """The end of a ban that the text names, by the exchange's clock."""
    found = venue.banned_until.search(text) if venue.banned_until is not None else None
    return int(found[1]) if found else None


def _pause_s(
    venue: Venue,
    kind: Kind,
    request: Request,
    headers: Mapping[str, str],
    text: str,
    now_ms: int,
) -> float:
    exchange_now_ms = exchange_time_ms(headers) or now_ms
    stated_s = [0.0]
    if until_ms := _ban_ends_ms(venue, text):
        stated_s.append((until_ms - exchange_now_ms) / 1000)
    if (after := headers.get("Retry-After", "")).isdecimal():
        stated_s.append(float(after))
    reset = headers.get(venue.reset_header, "") if venue.reset_header is not None else ""
    if kind is RateLimited and reset.isdecimal():  # the end of a window, not of a ban
        stated_s.append((int(reset) - exchange_now_ms) / 1000)
    if max(stated_s) > 0:
        return min(max(_SHORTEST_PAUSE_S, *stated_s), _LONGEST_PAUSE_S)
    if kind is Banned:
        return venue.default_ban_s
    if venue.default_pause_s is not None:
        return venue.default_pause_s
    limit = venue.limits[request.counter]
    # Never more than a window: a second more would end the exchange's part of a job.
    return min(window_left_s(limit, headers) or limit.window_s, limit.window_s)
