"""Columns read like the lists of tuples that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.markets import Row
from market.rows import Rows, TimedValues

numbers = st.floats(allow_nan=False)
lines = st.tuples(*[numbers] * 6, st.none() | numbers, st.none() | numbers)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    times = draw(st.sets(st.integers(0, 10**13), max_size=8))
    return [(time_ms, *draw(lines)) for time_ms in sorted(times)]


@given(rows(), st.slices(8), st.integers(-9, 9))
def test_rows_are_a_sequence_of_tuples(tuples: list[Row], part: slice, index: int) -> None:
    columns = Rows.of(tuples)
    assert Rows.of(columns) is columns
    assert columns == tuples and tuples == columns and columns == Rows.of(tuples)
    assert list(columns) == tuples and len(columns) == len(tuples)
    assert columns[part] == tuples[part]
    assert all(type(row) is tuple and type(row[0]) is int for row in columns)
    if -len(tuples) <= index < len(tuples):
        assert columns[index] == tuples[index]
    else:
        with pytest.raises(IndexError):
            columns[index]
    assert columns != [*tuples, None]
    assert (columns == 1) is False


@given(rows(), st.integers(-1, 10**13), st.integers(-1, 10**13))
def test_rows_between(tuples: list[Row], first_ms: int, last_ms: int) -> None:
    between = Rows.of(tuples).between(first_ms, last_ms)
    assert between == [row for row in tuples if first_ms <= row[0] <= last_ms]


@given(st.lists(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1))), min_size=1, max_size=4))
def test_joined_pages_are_unique_and_the_later_page_counts(
    pages: list[list[tuple[int, float]]],
) -> None:
    ascending = [sorted(dict(page).items()) for page in pages]
    expected: dict[int, float] = {}
    for page in ascending:
        expected.update(page)
    joined = TimedValues.joined([TimedValues.of(page) for page in ascending])
    assert joined == sorted(expected.items())


def test_what_is_not_finite() -> None:
    good = (0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None, None)
    assert Rows.of([good]).is_finite()
    for column in range(1, 9):
        for value in (np.nan, np.inf, -np.inf):
            bad = Rows.of([(*good[:column], value, *good[column + 1 :])])  # type: ignore[list-item]
            # In a column that may be null NaN is the null itself.
            assert bad.is_finite() == (column > 6 and value != value)
