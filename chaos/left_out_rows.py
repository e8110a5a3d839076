"""Rows that a document leaves out because they cannot be, as its `missing` tells them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_HOUR_MS: Final = 3_600_000
Row = Sequence[Any]
Document = Mapping[str, Any]

_LEFT_OUT: Final = re.compile(r"row (at|after) ([0-9]+) left out: .+|and [0-9]+ more, up to [0-9]+")


def holes(document: Document, part: str, interval_ms: int) -> dict[str, set[int]]:
    """The instants of the grid whose rows were left out, as `missing` tells, by market."""
    found: dict[str, set[int]] = {}
    for lack in document["missing"]:
        told = _LEFT_OUT.fullmatch(lack["reason"]) if lack["part"] == part else None
        if told is not None and told[2] is not None:
            open_ms = int(told[2]) // interval_ms * interval_ms
            open_ms += interval_ms * (told[1] == "after")
            found.setdefault(market_key(lack), set()).add(open_ms)
    return found


def failures(document: Document) -> list[Mapping[str, str]]:
    """The entries of `missing` that are more than single rows."""
    return [lack for lack in document["missing"] if not _LEFT_OUT.fullmatch(lack["reason"])]


def settlements_left(
    expected: Sequence[Row], rows: Sequence[Row], document: Document, key: str
) -> list[Row]:
    """The true settlements without those that the document tells as left out of a market.

    Their times may be late. A row whose time could not be read is told by the one before it: only
    if `rows` lacks the settlement after that one, it was this.
    """
    hours: set[int] = set()
    before: set[int] = set()
    for lack in document["missing"]:
        told = _LEFT_OUT.fullmatch(lack["reason"]) if lack["part"] == "funding_rate" else None
        if told is not None and told[2] is not None and market_key(lack) == key:
            (before if told[1] == "after" else hours).add(int(told[2]) // _HOUR_MS)
    there = {row[0] // _HOUR_MS for row in rows}
    for hour in before:
        following = next(
            (row[0] // _HOUR_MS for row in expected if row[0] // _HOUR_MS > hour), hour
        )
        if following not in there:
            hours.add(following)
    return [row for row in expected if row[0] // _HOUR_MS not in hours]


def market_key(lack: Mapping[str, str]) -> str:
    return f"{lack['exchange']}:{lack['symbol']}"
