"""The rows of one market of a document, as the texts that are told, and which of them are exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, log10, ulp
from typing import Any, Final

import orjson

# Powers of ten: how much likelier all texts of a column are where the exchange tells as many places
# as they show than where it tells so many more that its numbers could not be told apart.
_EVIDENCE: Final = 10.0
_MARKETS: Final = b',"markets":['
_ROWS: Final = b',"rows":['
NULL: Final = "null"


@dataclass(frozen=True)
class MarketRows:
    """`times`: the open times, ascending; `cells`: of each row the texts of its other columns, in
    the order of `columns`, `null` where there is none. `checked_at_ms`: when the exchange was
    asked. `is_stale`: the market's candles could not be fetched lately."""

    columns: Sequence[str]
    interval_ms: int
    times: Sequence[int]
    cells: Sequence[Sequence[str]]
    checked_at_ms: int
    is_stale: bool

    def are_exact(self, lines: range, columns: Sequence[int]) -> bool:
        """Whether the texts of these columns of these lines are what the exchange told, as
        decimals.

        They are if decimals of as many places lie further apart there than float64 numbers do: then
        no other one has the same float64. How many places the exchange tells, trailing zeros
        included, is shown by the whole column. No other decimal is read as zero.
        """
        return all(self._is_exact(lines, column) for column in columns)

    def _is_exact(self, lines: range, column: int) -> bool:
        texts = [row[column] for row in self.cells]
        asked = texts[lines.start : lines.stop]
        if NULL in asked:
            return False
        largest = max(map(abs, map(float, asked)))
        if not largest:
            return True
        known = set(texts) - {NULL, "0"}
        points = ((text, text.find(".")) for text in known)
        places = max((len(text) - at - 1 for text, at in points if at >= 0), default=0)
        return ulp(largest) * 10.0**places < 1 and _shows_places(known, places, largest)


def _shows_places(texts: set[str], places: int, largest: float) -> bool:
    """Whether texts of at most `places` decimals show that the exchange tells no more of them, or
    not so many that another number would have the float64 of `largest`.

    Of decimals of so many places, one shows at most `places` if its last digits happen to be zeros,
    or if a decimal so short happens to have its float64: what the likelier of the two lacks to a
    certainty is the evidence. It is the same for texts that are shorter still: they are as much
    rarer where the exchange tells `places`. So ever so many texts of all the digits that a float64
    has are none, however short some are by chance.
    """
    too_many = ceil(-log10(ulp(largest)))
    zeros = 10.0 ** (places - too_many)
    evidence = 0.0
    for text in texts:
        evidence -= log10(min(1.0, max(zeros, ulp(float(text)) * 10.0**places)))
        if evidence >= _EVIDENCE:
            return True
    return False


def market_rows(document: bytes, exchange: str, symbol: str) -> MarketRows | None:
    """Of a document that was filtered to this market; None if it has no rows of it."""
    begin = document.find(_ROWS)
    if begin < 0:
        return None
    markets = document.index(_MARKETS)
    header: dict[str, Any] = orjson.loads(document[:markets] + b"}")
    head: dict[str, Any] = orjson.loads(document[markets + len(_MARKETS) : begin] + b"}")
    if (head["exchange"], head["symbol"]) != (exchange, symbol):
        return None
    end = document.index(b"]}", begin)
    text = document[begin + len(_ROWS) : end].decode("ascii")
    if not text:
        return None
    lines = [row.split(",") for row in text.removeprefix("[").removesuffix("]").split("],[")]
    return MarketRows(
        columns=header["columns"][1:],
        interval_ms=header["interval_ms"],
        times=[int(line[0]) for line in lines],
        cells=[[plain(cell) for cell in line[1:]] for line in lines],
        checked_at_ms=head["checked_at"],
        is_stale=head["stale_since"] is not None,
    )


def plain(number: str) -> str:
    """A JSON number without an exponent, and without a point where it is whole."""
    if "e" in number or "E" in number:
        number = f"{Decimal(number):f}"
    whole, _, part = number.partition(".")
    part = part.rstrip("0")
    return f"{whole}.{part}" if part else whole
