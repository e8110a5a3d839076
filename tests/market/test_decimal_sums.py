"""Sums of volumes against sums of decimals, for any number of candles."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.candles import Candle, Candles
from market.decimal_sums import decimal_sums, lost_digits


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_sums_of_a_day_of_5m(data: st.DataObject) -> None:
    """Up to 288 candles of up to 17 digits: their sum is beyond 2**53 units, or beyond int64."""
    digits = data.draw(st.sampled_from([3, 9, 14, 15, 16, 17]))
    decimals = data.draw(st.integers(0, 12))
    count = data.draw(st.integers(1, 288))
    few = st.integers(0, 10**digits - 1)
    pool = data.draw(st.lists(st.tuples(few, few), min_size=1, max_size=6))
    units = [pool[line % len(pool)] for line in range(count)]
    values = np.array([[number / 10**decimals for number in line] for line in units])
    starts = sorted({0, *data.draw(st.lists(st.integers(0, count - 1), max_size=4))})
    sums = decimal_sums(values, np.array(starts))
    ends = [*starts[1:], count]
    for column in (0, 1):
        for place, (begin, end) in enumerate(zip(starts, ends, strict=True)):
            parts = (Decimal(repr(float(value))) for value in values[begin:end, column])
            assert sums[place, column] == float(sum(parts))


def test_288_turnovers_of_fifteen_digits() -> None:
    """Each is exact as a whole number of units, their sum of 28,799,999,999,999,999,712 is not."""
    values = np.full((288, 2), 99_999_999_999.9999)
    (volume, turnover) = decimal_sums(values, np.array([0]))[0]
    assert volume == turnover == 28_799_999_999_999.9712


@pytest.mark.parametrize(
    ("volume", "turnover", "lost"),
    [
        ("1.5", "2", False),
        ("999999999999999", "99999999999999.9", False),
        ("1000000000000000", "1", False),
        ("9007199254740993", "1", True),  # 2**53 + 1, sixteen digits without a point
        ("1", "9007199254740993", True),
        ("1", "1234567890.123456", False),
        ("1", "0.10000000000000001", True),  # its float is that of 0.1
        ("1", "0.1000000000000000000", False),
        ("12345678901234567.8", "1", True),
        ("1", "12345678901234568.0", False),
    ],
)
def test_which_digits_a_float_loses(volume: str, turnover: str, lost: bool) -> None:
    good = Candle(0, 1.0, 1.0, 1.0, 1.0, "1", "1")
    candles = Candles.of([good, Candle(300_000, 1.0, 1.0, 1.0, 1.0, volume, turnover)])
    assert lost_digits(candles).tolist() == [False, lost]


def test_no_candles_lose_nothing() -> None:
    assert not len(lost_digits(Candles.of([])))
