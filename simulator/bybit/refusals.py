"""Bybit's error answers: pages of its CDN, the 403 of its rate limit, texts of retCodes."""

from collections.abc import Mapping
from typing import Final

import orjson

from simulator.answers import Answer, dump

GEO_HTML: Final = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD>'
    b"<TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>"
    b"The Amazon CloudFront distribution is configured to block access from your country.\n"
    b"</BODY></HTML>"
)
BODY_HTML: Final = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD>'
    b"<TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>"
    b"Bad request. We can't connect to the server for this app or website at this time.\n"
    b"</BODY></HTML>"
)
RETCODE_TEXTS: Final[Mapping[object, str]] = {
    10000: "Server Timeout",
    10001: "params error",
    10002: "The request time exceeds the time window range.",
    10006: "Too many visits!",
    10009: "IP address is restricted",
    10016: "Internal server error",
    10018: "Exceeded the IP rate limit",
    10029: "Symbol is invalid",
    10429: "System level frequency protection",
}


def rate_403() -> Answer:
    """The 403 of the rate limit (plain text: choice)."""
    return Answer(403, b"access too frequent", "text/plain; charset=utf-8")


def repeat_cursor(answer: Answer) -> None:
    """Puts a cursor into the answer that never ends."""
    body = orjson.loads(answer.body)
    if isinstance(body.get("result"), dict) and "nextPageCursor" in body["result"]:
        cursor = body["result"]["nextPageCursor"] or "lastid%3D1%26lasttime%3D4102444800000"
        body["result"]["nextPageCursor"] = cursor
        answer.body = dump(body)
