"""The columns of a row: name, unit, and how those of a longer candle are made of them.

The one place that knows what lies where. A further column is one line of VALUES (and one word of
the Row below it): the documents' `columns`, merging, 8h and the checks follow from the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Aggregation(Enum):
    """How a longer candle's value is made of those of its candles."""

    FIRST = auto()
    MAX = auto()
    MIN = auto()
    LAST = auto()
    SUM = auto()  # of the exchange's decimals
    OPENING = auto()  # that of the candle which opens at the same instant; null without one


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a row. `candle`: part of the candle; else it is merged to it, from elsewhere."""

    name: str
    unit: str
    aggregation: Aggregation
    nullable: bool = False
    candle: bool = True


# Open interest is counted one-sided.
VALUES: Final = (
    Column("open", "quote units", Aggregation.FIRST),
    Column("high", "quote units", Aggregation.MAX),
    Column("low", "quote units", Aggregation.MIN),
    Column("close", "quote units", Aggregation.LAST),
    Column("volume", "base units", Aggregation.SUM),
    Column("turnover", "quote units", Aggregation.SUM),
    Column("open_interest", "base units", Aggregation.OPENING, nullable=True, candle=False),
    Column("funding_rate", "a fraction", Aggregation.LAST, nullable=True, candle=False),
)
# A row is its time, UTC ms, and its values in their order. Arrays hold the values without the time.
Row = tuple[int, float, float, float, float, float, float, float | None, float | None]
COLUMNS: Final = ("open_time", *(column.name for column in VALUES))

# One settlement: funding_time ms as the exchange stamped it | funding_rate as a fraction.
FundingRow = tuple[int, float]
FUNDING_COLUMNS: Final = ("funding_time", "funding_rate")

TIME: Final = 0  # where every row of any kind has its time

Places = slice | list[int]


def place(name: str) -> int:
    """Where a column lies in a line of values."""
    return COLUMNS.index(name) - 1


def places(wanted: Callable[[Column], bool]) -> Places:
    """Where the wanted columns lie in a line of values: a slice if side by side, else a list."""
    found = [index for index, column in enumerate(VALUES) if wanted(column)]
    whole = range(found[0], found[-1] + 1) if found else range(0)
    return slice(whole.start, whole.stop) if found and found == list(whole) else found


CANDLE: Final = places(lambda column: column.candle)
SUMMED: Final = places(lambda column: column.aggregation is Aggregation.SUM)
# Of a candle, what comes back to the bit when it is made anew; sums of floats do not.
UNSUMMED: Final = places(lambda column: column.candle and column.aggregation is not Aggregation.SUM)
NUMBERS: Final = places(lambda column: not column.nullable)
NULLABLE: Final = places(lambda column: column.nullable)
