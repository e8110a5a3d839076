"""The table of columns, and what must say the same as it."""

from typing import get_args

from market import markets
from market.candles import Candle, Candles
from market.columns import (
    CANDLE,
    CANDLE_TRADES,
    COLUMNS,
    NULLABLE,
    NUMBERS,
    SUMMED,
    TRADES,
    UNSUMMED,
    VALUES,
    WIDE_COLUMNS,
    Row,
    column_indices,
    columns_of,
    width_of,
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
    names = ("open_time_ms", *Candles.names, "trades", "taker_buy_volume", "taker_buy_turnover")
    assert Candle._fields == names
    texts = [name for name, kind in Candle.__annotations__.items() if kind in (str, str | None)]
    assert texts == [names[1 + index] for index in Candles.summed]
    assert Candles.summed == (4, 5, 6, 7, 8)


def test_the_columns_of_trades_stand_after_the_others() -> None:
    assert columns_of(False) == COLUMNS
    assert columns_of(True) == WIDE_COLUMNS
    assert WIDE_COLUMNS[9:] == ("trades", "taker_buy_volume", "taker_buy_turnover")
    assert (width_of(False), width_of(True)) == (8, 11)
    assert (slice(8, 11), slice(6, 9)) == (TRADES, CANDLE_TRADES)


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
