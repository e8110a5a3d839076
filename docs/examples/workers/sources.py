"""What the sources of the examples send, as rows: pure functions, which tests call directly."""

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any


def day_of(moment_ms: int) -> str:
    """The day (UTC) of a moment, as 2026-11-30."""
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d}"


def fund_rows(page: str, day: str) -> list[dict[str, Any]]:
    """`<tr><td>VFMVF1</td><td>31,250.5</td></tr>...` as rows of fund_values."""
    table = _Cells()
    table.feed(page)
    return [
        {"code": code.strip(), "day": day, "value": float(value.replace(",", ""))}
        for code, value in zip(table.cells[::2], table.cells[1::2], strict=True)
    ]


def headlines(feed: Any) -> list[str]:
    """The titles of a JSON feed (jsonfeed.org), the newest first."""
    items = sorted(feed["items"], key=lambda item: item["date_published"], reverse=True)
    return [item["title"] for item in items]


def rate_rows(answer: Any, day: str) -> list[dict[str, Any]]:
    """`{"rates": {"VND": 26345.0, ...}}` as rows of rates."""
    return [
        {"currency": currency, "day": day, "per_dollar": float(rate)}
        for currency, rate in answer["rates"].items()
    ]


def trade(message: str | bytes) -> dict[str, Any] | None:
    """`{"s": "FPT", "p": "131.2", "q": 100, "t": 1764489600000}` in plain words; None for messages
    that are no trades, such as the answer to a subscription."""
    told = json.loads(message)
    if "s" not in told:
        return None
    return {
        "symbol": told["s"],
        "price": float(told["p"]),
        "quantity": int(told["q"]),
        "time_ms": int(told["t"]),
    }


class _Cells(HTMLParser):
    """The texts of the cells of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._in_cell = tag == "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells.append(data)
            self._in_cell = False
