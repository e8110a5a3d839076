"""HTTP answers: their shape, error pages, and pages of candles, shared by all exchanges."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from simulator.candles import NO_CANDLES, TIME, Ints
from simulator.market import Market
from simulator.pages import RowPages

JSON: Final = "application/json"
JSON_UTF8: Final = "application/json;charset=UTF-8"
HTML: Final = "text/html"

# interval_ms of the modelled periods; the exchanges have a few more.
PERIODS_MS: Final = {
    "1m": 60_000, "3m": 180_000,
    "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "2h": 7_200_000,
    "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
}  # fmt: skip


@dataclass(slots=True)
class Answer:
    """One HTTP answer. `rejected`: the client's parameters were wrong. `fault`: the kind of fault
    injected into it, if any. `date_offset_ms`: how far its Date header is off."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    rejected: bool = False
    fault: str = ""
    date_offset_ms: int = 0


_NGINX: Final = (
    "<html>\r\n<head><title>{status} {text}</title></head>\r\n<body>\r\n<center><h1>{status} {text}"
    "</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_REASONS: Final = {
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Temporarily Unavailable",
    504: "Gateway Time-out", 404: "Not Found", 403: "Forbidden", 408: "Request Time-out",
}  # fmt: skip


def error_page(status: int, text: str = "") -> Answer:
    """The page that a web server in front of the exchange sends for a status."""
    page = _NGINX.format(status=status, text=text or _REASONS.get(status, "Error"))
    return Answer(status, page.encode(), HTML)


def dump(value: object) -> bytes:
    return orjson.dumps(value)


def candle_rows(
    market: Market, pages: RowPages, render_forming: Callable[[Ints], list[bytes]], *,
    limit: int, first_ms: int, last_ms: int, forward: bool, now_ms: int,
) -> bytes:  # fmt: skip
    """The text of at most `limit` candles of a window, including the forming one.

    `forward`: the first candles of the window, else the last. `render_forming` turns a column of
    candles into rows of text.
    """
    open_ms = now_ms - now_ms % pages.interval_ms
    forming: Ints = NO_CANDLES
    if first_ms <= open_ms <= last_ms:
        forming = market.forming(pages.interval_ms, now_ms)
    more = forming.shape[1]
    last_ms = min(last_ms, open_ms - pages.interval_ms)
    if forward:
        page = pages.oldest(limit, first_ms, last_ms)
        more = more if page.count < limit else 0
    else:
        page = pages.newest(limit - more, first_ms, last_ms)
    text = page.text
    if more:
        row = render_forming(forming)[0]
        text = text + row if pages.ascending else row + text
    return text[:-1]


def times_of(candles: Ints) -> list[int]:
    times: list[int] = candles[TIME].tolist()
    return times
