"""The table of a row's columns: order, name, unit, and how each is aggregated.

To add a column, add one line to VALUES and one type to Row: the documents' `columns`, merging,
8h and the checks follow from the table.

A line of values is narrow, with VALUES alone, or wide, with TRADE_VALUES after them. A narrow one
says the same as a wide one in which these are null: what is put together of both is wide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Aggregation(Enum):
    """How a longer candle's value is computed from its source candles."""

    FIRST = auto()
    MAX = auto()
    MIN = auto()
    LAST = auto()
    SUM = auto()  # exact in the exchange's decimals
    OPENING = auto()  # of the source candle that opens at the same instant; null if absent


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a row. `candle`: False if it comes from another endpoint and is merged."""

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
# What stands after them where TRADE_COLUMNS is on: null where an exchange does not tell it, and in
# rows of before.
TRADE_VALUES: Final = (
    Column("trades", "a count", Aggregation.SUM, nullable=True),
    Column("taker_buy_volume", "base units", Aggregation.SUM, nullable=True),
    Column("taker_buy_turnover", "quote units", Aggregation.SUM, nullable=True),
)
# A row: open time in UTC ms, then the values in order. Arrays of values exclude the time.
Row = tuple[int, float, float, float, float, float, float, float | None, float | None]
COLUMNS: Final = ("open_time", *(column.name for column in VALUES))
WIDE_COLUMNS: Final = (*COLUMNS, *(column.name for column in TRADE_VALUES))

# One settlement: the exchange's timestamp in ms, the rate as a fraction.
FundingRow = tuple[int, float]
FUNDING_COLUMNS: Final = ("funding_time", "funding_rate")

TIME: Final = 0  # index of the time in a row of any kind

Indices = slice | list[int]


def column_index(name: str) -> int:
    """Index of a column in a line of values (which has no time)."""
    return COLUMNS.index(name) - 1


def column_indices(wanted: Callable[[Column], bool]) -> Indices:
    """Indices of the wanted columns in a line of values: a slice if adjacent, else a list."""
    found = [index for index, column in enumerate(VALUES) if wanted(column)]
    whole = range(found[0], found[-1] + 1) if found else range(0)
    return slice(whole.start, whole.stop) if found and found == list(whole) else found


CANDLE: Final = column_indices(lambda column: column.candle)
SUMMED: Final = column_indices(lambda column: column.aggregation is Aggregation.SUM)
# Columns of a candle that a second aggregation gives bit for bit; sums of floats may differ.
UNSUMMED: Final = column_indices(
    lambda column: column.candle and column.aggregation is not Aggregation.SUM
)
NUMBERS: Final = column_indices(lambda column: not column.nullable)
NULLABLE: Final = column_indices(lambda column: column.nullable)
# The columns of TRADE_VALUES in a line of values, and in one of candles; none in a narrow one.
TRADES: Final = slice(len(VALUES), len(VALUES) + len(TRADE_VALUES))
CANDLE_WIDTH: Final = sum(column.candle for column in VALUES)
CANDLE_TRADES: Final = slice(CANDLE_WIDTH, CANDLE_WIDTH + len(TRADE_VALUES))


def width_of(trade_columns: bool) -> int:
    """The number of values in a line."""
    return len(VALUES) + len(TRADE_VALUES) * trade_columns


def columns_of(trade_columns: bool) -> tuple[str, ...]:
    """The columns of a document, the time first."""
    return WIDE_COLUMNS if trade_columns else COLUMNS
