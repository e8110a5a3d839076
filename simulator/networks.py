"""Answers of content networks in front of the exchanges: their refusals, and answers without end.

Shortened from pages that users of the exchanges quote in public.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from simulator.answers import HTML, Answer
from simulator.exchange import Exchange

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n" * 100
_CHALLENGE: Final = (
    '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title>'
    "<style>*{box-sizing:border-box}</style></head><body><h2>Checking if the site connection is "
    "secure</h2><noscript>Enable JavaScript and cookies to continue</noscript></body></html>"
)
_DENIED: Final = (
    "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n \nYou "
    "don't have permission to access this resource on this server.<P>\nReference 1\n</BODY></HTML>"
)
_TOO_FAST: Final = {
    "cloudfront": (
        503,
        "<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>503 "
        "ERROR</H1>This distribution exceeded the limit on requests per second. We can't connect "
        "to the server for this app or website at this time.</BODY></HTML>",
    ),
    "cloudflare": (
        429,
        "<!DOCTYPE html><html><head><title>Access denied | used Cloudflare to restrict access"
        "</title></head><body><h1>Error 1015</h1><h2>You are being rate limited</h2></body></html>",
    ),
    "forbidden": (
        403,
        "<html><head><title>403 Forbidden</title></head><body>Rate limited</body></html>",
    ),
}
_MESSAGE_LENGTH: Final = 1_000_000
TOO_FAST_VARIANTS: Final = tuple(_TOO_FAST)


def challenge(rule: Mapping[str, Any], exchange: Exchange) -> Answer:
    """The page that asks for a browser, or with the variant denied the one that refuses it."""
    page = _DENIED if rule.get("variant") == "denied" else _CHALLENGE
    return Answer(int(rule.get("status", 403)), page.encode(), HTML)


def too_fast(rule: Mapping[str, Any], exchange: Exchange) -> Answer:
    """A network's answer to more requests per second than it lets through."""
    status, page = _TOO_FAST[str(rule.get("variant", TOO_FAST_VARIANTS[0]))]
    return Answer(status, page.encode(), HTML)


def long_message(rule: Mapping[str, Any], exchange: Exchange) -> Answer:
    """The exchange's error with a message of `rows` characters."""
    return exchange.long_message(int(rule.get("rows", _MESSAGE_LENGTH)))


REFUSING: Final[dict[str, Callable[[Mapping[str, Any], Exchange], Answer]]] = {
    "challenge": challenge,
    "too_fast": too_fast,
    "long_message": long_message,
}


async def continue_without_end(request: web.BaseRequest, seconds: float) -> None:
    """Sends informational answers for `seconds`, or until the client has gone."""
    transport = request.transport
    ends_at = asyncio.get_running_loop().time() + seconds
    while transport is not None and not transport.is_closing():
        if asyncio.get_running_loop().time() > ends_at:
            return
        transport.write(_CONTINUE)
        await asyncio.sleep(0.02)
