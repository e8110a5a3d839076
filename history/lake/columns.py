"""The columns of exported files, by what they hold."""

from typing import Final

from history.lake.layout import Content
from market.columns import VALUES

CANDLE_VALUES: Final = tuple(column.name for column in VALUES if column.candle)


def time_name(content: Content) -> str:
    """The column of a row's own time."""
    return "open_time" if content == "candles" else "time"


def value_names(content: Content) -> tuple[str, ...]:
    """The columns of values, in the order of the record."""
    return CANDLE_VALUES if content == "candles" else ("value",)
