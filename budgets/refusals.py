"""Classifies an exchange's answer: success, or which error, with the length of a pause or ban.

Uses the venue's tables; the error classes in venues/errors.py say how callers react. Bodies are
cut before any pattern reads them, so the time to judge one is bounded.
"""

import re
from collections.abc import Mapping
from typing import Final

from budgets.headers import exchange_time_ms, number_of, retry_after_s
from budgets.rate_limits import window_left_s
from texts.foreign import LONGEST_TEXT, foreign_text
from texts.hidden_addresses import without_ips
from venues import VENUES
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
)
from venues.reading import ErrorBody
from venues.venue import Endpoint, Kind, Request, Venue

_SHORTEST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 4 * 24 * 3600.0  # bans take three days at most; more is wrong
_LONGEST_RESET_S: Final = 60.0  # no limit that has a reset header has a longer window
_OWN_LIMIT: Final = re.compile(r"too frequent|rate limit|too many")
# The words of content networks, on pages of any status.
_TOO_FAST: Final = re.compile(
    r"too many requests|requests per second|rate.?limit|too frequent|error 1015|throttl"
)
_CHALLENGE: Final = re.compile(
    r"just a moment|attention required|access denied|verify(?:ing)? (?:that )?you are (?:a )?human"
    r"|captcha|checking your browser|request blocked|you have been blocked"
)
_LOCATION: Final = re.compile(r"restricted location|country|region|eligib")
_IP_ADDRESS: Final = re.compile(r"IP ?\([^()]*\)")  # ours; readers of a document do not need it
_HEADLINE_TWICE: Final = re.compile(r"^(.{4,100}?) \1(?= |$)")  # in the title and on the page
_PAGE: Final = 4096  # bytes read of a body that is not JSON; its message is at the beginning
_UNSEEN: Final = ("style", "script")  # elements whose text no reader sees
_LARGEST_ENVELOPE: Final = 256 * 1024  # bytes; larger bodies are not errors in the usual form
_LONGEST_CODE: Final = 30
_LONGEST_CAUSE: Final = 200
_EMPTY_BODIES: Final = frozenset({b"", b"null"})
_NETWORK_STATUSES: Final = range(520, 530)  # a content network about the server behind it


def judge(
    request: Request, status: int, headers: Mapping[str, str], body: bytes, now_ms: int
) -> ExchangeError | None:
    """The error an answer stands for, or None for success; `now_ms`: this machine's wall clock."""
    venue = VENUES[request.exchange]
    if status == 200:
        if body.startswith(venue.success_prefix):
            return None  # the fast path of most answers
        if body[:_PAGE].strip() in _EMPTY_BODIES:
            return _error(SourceDown, "an empty answer", request, status)
    error = _envelope(venue, body)
    page = error is None and body[:_PAGE].lstrip().startswith(b"<")
    if status == 200 and error is None and not page:
        return None
    text = f"{error.code} {error.message}".strip() if error else _plain_text(body)
    lower = text.lower()
    kind = _kind(venue, status, error.code if error else None, lower, page=page)
    if kind is None:
        return None
    by_network = page and _TOO_FAST.search(lower) is not None
    if kind is RateLimited and by_network and retry_after_s(headers, now_ms) is None:
        kind = TooFast  # nothing is said about the exchange's own windows
    if request.endpoint is not Endpoint.TIME:
        kind = Blocked if kind is Restricted else kind
    elif kind is Blocked and _LOCATION.search(lower):
        kind = Restricted
    elif kind is Blocked:
        kind = Banned if _bans(venue, status) else TurnedAway
    cause = without_ips(_IP_ADDRESS.sub("IP", text)[:_LONGEST_CAUSE])
    if issubclass(kind, RateLimited | Banned):
        pause_s = _pause_s(venue, kind, request, headers, lower, now_ms)
        refusal = kind(
            cause,
            until_ms=now_ms + round(pause_s * 1000),
            exchange=request.exchange,
            endpoint=request.endpoint,
            market=request.symbol,
            status=status,
        )
        if isinstance(refusal, RateLimited):
            refusal.by_network = page
        return refusal
    return _error(kind, cause, request, status)


def _error(kind: Kind, cause: str, request: Request, status: int) -> ExchangeError:
    return kind(
        cause,
        exchange=request.exchange,
        endpoint=request.endpoint,
        market=request.symbol,
        status=status,
    )


def _envelope(venue: Venue, body: bytes) -> ErrorBody | None:
    """The code and message of an error in the venue's form, cut; None for any other body."""
    if len(body) > _LARGEST_ENVELOPE:
        return None
    try:
        error = venue.read_error(body)
    except (ValueError, TypeError, RecursionError):  # deep nesting, numbers of any length
        return None
    if error is None:
        return None
    return ErrorBody(foreign_text(error.code, _LONGEST_CODE), foreign_text(error.message))


def _plain_text(body: bytes) -> str:
    """The text of a body that is not JSON, such as an HTML page."""
    page = body[:_PAGE].decode("utf-8", "replace")
    pieces = []
    at = 0
    while (tag := page.find("<", at)) >= 0:
        pieces.append(page[at:tag])
        unseen = page[tag + 1 : tag + 8].lower().startswith(_UNSEEN)
        end = page.find("</" if unseen else ">", tag + 1)
        if end < 0:
            at = len(page)
            break
        at = end if unseen else end + 1
    pieces.append(page[at:])
    return _HEADLINE_TWICE.sub(r"\1", foreign_text(" ".join(pieces), _PAGE)[:LONGEST_TEXT]) or (
        "no message"
    )


def _kind(venue: Venue, status: int, code: str | None, text: str, *, page: bool) -> Kind | None:
    """Blocked: one market or the whole exchange, as the answer of its clock will tell.

    None: a page with status 200 that is left to the parser, which knows what it expects.
    """
    if status == 403 and ("too frequent" in text or (not page and _OWN_LIMIT.search(text))):
        # The exchange's own limit; only the text distinguishes it.
        return Banned if _bans(venue, status) else RateLimited
    if _ban_ends_ms(venue, text):
        return Banned
    kind = venue.statuses.get(status)
    by_code = venue.codes.get(code) if code is not None and status < 500 else None
    kind = by_code or kind if venue.codes_first else kind or by_code
    if kind is not None:
        return kind
    if status in _NETWORK_STATUSES or ((page or status >= 400) and _TOO_FAST.search(text)):
        return TooFast
    if status == 403 or (page and _CHALLENGE.search(text)):
        return Blocked
    if status >= 500 or status < 200 or 300 <= status < 400:
        return SourceDown
    if page and status == 200:
        return None
    gone = venue.symbol_gone is not None and venue.symbol_gone.search(text)
    return SymbolGone if gone else BadRequest


def _bans(venue: Venue, status: int) -> bool:
    """Whether the exchange is known to ban an address by this status, so that asking again would
    prolong it. A page of another status is a content network's, and nobody says for how long."""
    return venue.default_ban_s is not None and status == 403


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
    stated_s = [0.0, retry_after_s(headers, exchange_now_ms) or 0.0]
    if until_ms := _ban_ends_ms(venue, text):
        stated_s.append((until_ms - exchange_now_ms) / 1000)
    reset_ms = number_of(headers, venue.reset_header)
    if kind is RateLimited and reset_ms is not None:  # the end of a window, not of a ban
        left_s = (reset_ms - exchange_now_ms) / 1000
        stated_s.append(left_s if left_s <= _LONGEST_RESET_S else 0.0)
    if max(stated_s) > 0:
        return min(max(_SHORTEST_PAUSE_S, *stated_s), _LONGEST_PAUSE_S)
    if kind is Banned and venue.default_ban_s is not None:
        return venue.default_ban_s
    if venue.default_pause_s is not None:
        return venue.default_pause_s
    limit = venue.limits[request.counter]
    # Never more than a window: a second more would end the exchange's part of a job.
    return min(window_left_s(limit, headers) or limit.window_s, limit.window_s)
