"""Narrow and wide rows, candles and bases: what is put together of both, and sums of trades."""

from decimal import Decimal
from math import isnan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.aggregation import aggregate
from market.base import Base, extended, with_stream
from market.base_candles import made_candles
from market.candles import Candle, Candles
from market.rows import Rows, are_same_candles, candle_values, rows_of
from market.timeframes import Timeframe
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of, five, same

Told = tuple[str, str, str] | None
NOW = 5  # ms after the opening of a candle

texts = st.decimals(0, 10**13, places=2).map(lambda value: f"{value:f}")
tolds = st.one_of(
    st.none(), st.tuples(st.integers(0, 10**9).map(str), texts, st.integers(0, 10**17).map(str))
)


def wide(slot: int, told: Told, **more: Any) -> Candle:
    candle = five(slot, **more)
    return candle if told is None else Candle(*candle[:7], *told)


def numbers(told: Told) -> list[float]:
    return [np.nan] * 3 if told is None else [float(text) for text in told]


def equal(one: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(one, float), np.asarray(other, float), equal_nan=True)


@given(st.lists(st.lists(tolds, max_size=6), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_candles_joined_are_all_their_candles(parts: list[list[Told]]) -> None:
    slots = iter(range(100))
    candles = [[wide(next(slots), told) for told in part] for part in parts]
    joined = Candles.joined([Candles.of(part) for part in candles])
    expected = [candle for part in candles for candle in part]
    assert list(joined) == expected
    assert Candles.of(expected) == joined
    assert list(Candles.of(joined[1:])) == expected[1:]
    is_told = any(candle.trades is not None for candle in expected)
    assert joined.is_wide is is_told, "those that tell nothing take no memory"


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_rows_joined_are_as_wide_as_the_widest_and_lose_nothing(
    widths: list[bool], wanted: bool
) -> None:
    rows = [
        rows_of(Candles.of([wide(place, ("7", "1.25", "9.5") if is_wide else None)]))
        for place, is_wide in enumerate(widths)
    ]
    joined = Rows.joined(rows)
    assert joined.is_wide is any(widths)
    told = [[7.0, 1.25, 9.5] if is_wide else [np.nan] * 3 for is_wide in widths]
    assert equal(joined.column("taker_buy_volume"), [row[1] for row in told])
    fitted = joined.fitted(wanted)
    assert (fitted.is_wide, fitted.is_finite()) == (wanted, True)
    assert equal(fitted.values[:, :8], joined.values[:, :8])
    lines = list(fitted)
    assert {len(line) for line in lines} == {12 if wanted else 9}
    if wanted:
        told_then = [[None if isnan(value) else value for value in row] for row in told]
        assert [list(line[9:]) for line in lines] == told_then
    assert Rows.of(lines) == fitted


def test_a_narrow_row_tells_nothing_of_trades() -> None:
    rows = rows_of(Candles.of([five(0), five(1)]))
    assert equal(rows.column("trades"), [np.nan, np.nan])
    with pytest.raises(KeyError):
        rows.column("nothing")


def sums(candles: list[Candle], parts: int) -> list[list[float]]:
    """The exact sums of each group of candles, as Python's decimals have them."""
    found = []
    for begin in range(0, len(candles), parts):
        group = candles[begin : begin + parts]
        line = []
        for place in (7, 8, 9):
            told = [candle[place] for candle in group]
            whole = None not in told
            line.append(float(sum(Decimal(str(text)) for text in told)) if whole else np.nan)
        found.append(line)
    return found


@given(st.lists(tolds, min_size=1, max_size=24))
@settings(max_examples=80, deadline=None)
def test_sums_of_trades_are_exact_and_null_where_a_part_is(told: list[Told]) -> None:
    candles = [wide(slot, each) for slot, each in enumerate(told)]
    found = Candles.of(candles)
    for target, parts in ((Timeframe.M15, 3), (Timeframe.M30, 6)):
        made = aggregate(rows_of(found), Timeframe.M5, target, window_start_ms=0, exact=found.texts)
        for place, name in enumerate(("trades", "taker_buy_volume", "taker_buy_turnover")):
            expected = [line[place] for line in sums(candles, parts)]
            assert equal(made.column(name), expected)


@given(st.lists(tolds, min_size=7, max_size=20))
@settings(max_examples=60, deadline=None)
def test_candles_made_of_a_base_have_the_sums_of_their_parts(told: list[Told]) -> None:
    short = [each and tuple(text[:9] for text in each) for each in told]
    candles = [wide(slot, each) for slot, each in enumerate(short)]  # type: ignore[arg-type]
    as_of_ms = MIDNIGHT + (len(told) - 1) * STEP_MS + NOW
    base = extended(None, candles, asked_ms=MIDNIGHT, as_of_ms=as_of_ms)
    made = made_candles(base, Timeframe.M15, first_ms=MIDNIGHT, as_of_ms=as_of_ms)
    assert not len(made.unproven)
    for place, name in enumerate(("trades", "taker_buy_volume", "taker_buy_turnover")):
        assert equal(made.rows.column(name), [line[place] for line in sums(candles, 3)])


TOLD: Told = ("7", "1.25", "9.5")


def read_again(base: Base, told: Told, last: int) -> Base:
    """The base after a pass that read all of it, and the next slot."""
    candles = [wide(slot, told) for slot in range(last + 2)]
    as_of_ms = MIDNIGHT + (last + 1) * STEP_MS + NOW
    return extended(base, candles, asked_ms=MIDNIGHT, as_of_ms=as_of_ms)


def test_slots_that_get_their_trades_count_as_read_then() -> None:
    before = base_of(range(9), 8 * STEP_MS + NOW)
    assert not before.is_wide
    base = read_again(before, TOLD, 8)
    assert base.is_wide
    assert equal(base.values[:, 8:], [numbers(TOLD)] * 10)
    assert set(base.read_ms.tolist()) == {base.as_of_ms}, "so that longer candles are made anew"
    again = read_again(base, TOLD, 9)
    assert again.read_ms.tolist() == [base.as_of_ms] * 8 + [again.as_of_ms] * 3
    assert same(base.fitted(False), read_again(before, None, 8).fitted(False)) is False
    assert not base.fitted(False).is_wide and base.fitted(True) is base


def test_what_is_known_of_trades_stays_where_nothing_is_told() -> None:
    base = read_again(base_of(range(9), 8 * STEP_MS + NOW), TOLD, 8)
    quiet = read_again(base, None, 9)
    assert equal(quiet.values[:10, 8:], [numbers(TOLD)] * 10)
    assert equal(quiet.values[10, 8:], [np.nan] * 3)
    changed = extended(
        quiet,
        [five(9, price=90.0), five(10), five(11)],
        asked_ms=MIDNIGHT + 9 * STEP_MS,
        as_of_ms=MIDNIGHT + 11 * STEP_MS + NOW,
    )
    assert equal(changed.values[9, 8:], [np.nan] * 3), "they were of another candle"


@pytest.mark.parametrize("is_wide", [False, True])
def test_candles_of_streams_bring_theirs(is_wide: bool) -> None:
    before = base_of(range(9), 8 * STEP_MS + NOW)
    before = read_again(before, TOLD, 8) if is_wide else before
    first = 10 if is_wide else 9
    closed = [wide(first - 1, TOLD), wide(first, None)]
    as_of_ms = MIDNIGHT + (first + 1) * STEP_MS + NOW
    base = with_stream(before, closed, wide(first + 1, TOLD), as_of_ms=as_of_ms)
    assert base.is_wide
    expected = [numbers(TOLD), [np.nan] * 3, numbers(TOLD)]
    assert equal(base.values[first - 1 :, 8:], expected)


def test_what_one_side_does_not_tell_is_no_difference() -> None:
    candles = [wide(0, TOLD), wide(1, None), wide(2, ("8", "1.25", "9.5"))]
    ours = rows_of(Candles.of(candles))
    theirs = Candles.of([wide(slot, TOLD) for slot in range(3)])
    narrow = Candles.of([five(slot) for slot in range(3)])
    found = candle_values(ours.values)
    assert are_same_candles(found, theirs.values).tolist() == [True, True, False]
    assert are_same_candles(found, narrow.values).all()
    assert are_same_candles(narrow.values, theirs.values).all()
    other = Candles.of([five(0, price=99.0), five(1), five(2)])
    assert are_same_candles(found, other.values).tolist() == [False, True, True]
