"""ExportedRows: rows of one market as an export has them, and the columns of its files."""

from dataclasses import dataclass
from typing import Final

from market.columns import VALUES
from market.rows import Floats, Times

AT_ONCE: Final = 30_000  # rows; a row group of ours has as many
_CANDLE: Final = tuple(column.name for column in VALUES if column.candle)


@dataclass(frozen=True, slots=True)
class ExportedRows:
    """Rows of one market: `times` (n), `values` (n, width) with NaN for null, `known_at` (n)."""

    symbol: str
    times: Times
    values: Floats
    known_at: Times


def columns_of(kind: str) -> tuple[str, ...]:
    """The columns of a file of that kind, without the symbol."""
    values = _CANDLE if kind == "candles" else ("value",)
    return ("open_time" if kind == "candles" else "time", *values, "known_at")
