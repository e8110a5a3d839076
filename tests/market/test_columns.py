"""The table of columns, and what must say the same as it."""

from typing import get_args

from market import markets
from market.candles import Candle, Candles
from market.columns import (
    CANDLE,
    COLUMNS,
    NULLABLE,
    NUMBERS,
    SUMMED,
    UNSUMMED,
    VALUES,
    Row,
    column_indices,
)
from market.rows import Rows


def test_a_row_has_the_columns_of_the_table() -> None:
    assert (
        *("open_time", "open", "high", "low", "close"),
        *("volume", "turnover", "open_interest", "funding_rate"),
    ) == COLUMNS  # as README tells
    assert markets.COLUMNS is COLUMNS
    time_type, *types = get_args(Row)
    assert time_type is int
    expected = [float | None if column.nullable else float for column in VALUES]
    assert types == expected
    assert Rows.names == COLUMNS[1:]


def test_a_candle_has_its_columns_in_their_order() -> None:
    assert Candle._fields == ("open_time_ms", *Candles.names)
    texts = [name for name, kind in Candle.__annotations__.items() if kind is str]
    assert texts == [Candles.names[index] for index in Candles.summed]


def test_columns_side_by_side_are_a_slice() -> None:
    assert [*(slice(0, 6), slice(4, 6), slice(0, 4), slice(0, 6), slice(6, 8))] == [
        CANDLE,
        SUMMED,
        UNSUMMED,
        NUMBERS,
        NULLABLE,
    ]
    assert column_indices(lambda column: column.name in ("close", "funding_rate")) == [3, 7]
    assert column_indices(lambda column: False) == []
