"""The rows of one market of a document, as the texts that are told, and which of them are exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import orjson

# float64 recovers so many digits of any decimal (DBL_DIG of IEEE 754).
EXACT_DIGITS: Final = 15
# Fewer values of a column do not show how many decimals the exchange tells: one in ten ends with a
# zero, which the shortest form leaves out.
LEAST_VALUES: Final = 30
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

    @cached_property
    def _decimals(self) -> list[int | None]:
        """How many decimals the exchange tells, by column; None where its values do not show it."""
        found: list[int | None] = []
        for column in zip(*self.cells, strict=True):
            known = [text for text in column if text != NULL]
            most = max((len(text.partition(".")[2]) for text in known), default=0)
            found.append(most if len(known) >= LEAST_VALUES else None)
        return found

    def is_exact(self, line: int, columns: Sequence[int]) -> bool:
        """Whether the texts of these columns of a row are what the exchange told, as decimals.

        A decimal of at most 15 digits is what its float64 shows in its shortest form. How many the
        exchange has told, trailing zeros included, is shown by the whole column.
        """
        row, decimals = self.cells[line], self._decimals
        for column in columns:
            text, most = row[column], decimals[column]
            if text == NULL or most is None:
                return False
            whole = text.partition(".")[0].lstrip("-")
            if (0 if whole == "0" else len(whole)) + most > EXACT_DIGITS:
                return False
        return True


def market_rows(document: bytes) -> MarketRows | None:
    """Of a document that was filtered to one market; None if it has none, or no rows."""
    begin = document.find(_ROWS)
    if begin < 0:
        return None
    markets = document.index(b',"markets":[')
    header: dict[str, Any] = orjson.loads(document[:markets] + b"}")
    head: dict[str, Any] = orjson.loads(document[markets + len(b',"markets":[') : begin] + b"}")
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
