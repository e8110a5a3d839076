"""Prices decide which markets of one name are of one coin."""

import pytest

from market.assets.prices import LARGEST_FACTOR, agreement, weighted_median


def test_the_median_is_where_half_of_the_weight_lies() -> None:
    assert weighted_median([3.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == 2.0
    assert weighted_median([3.0, 1.0, 2.0], [5.0, 1.0, 1.0]) == 3.0
    assert weighted_median([2.0, 1.0], [1.0, 1.0]) == 1.0
    assert weighted_median([2.0, 1.0], [0.0, 0.0]) == 1.0
    assert weighted_median([7.0], [0.0]) == 7.0


def test_prices_within_the_factor_agree() -> None:
    found = agreement([1.0, LARGEST_FACTOR], [1.0, 1.0])
    assert found.decided and all(found.agrees)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1000.0, 1.0], [1.0, 1000.0], [0.0, 0.0]])
def test_of_two_prices_that_differ_nobody_can_tell_the_right_one(weights: list[float]) -> None:
    assert not agreement([1.0, 1.6], weights).decided


def test_two_of_three_outvote_the_third() -> None:
    found = agreement([1.0, 10.0, 1.01], [1.0, 1.9, 1.0])
    assert found.decided and found.agrees == (True, False, True)


def test_most_markets_without_most_of_the_weight_decide_nothing() -> None:
    assert not agreement([1.0, 10.0, 1.01], [1.0, 3.0, 1.0]).decided
    # The median lies among three small ones, between two large ones.
    assert not agreement([1.0, 2.0, 2.0, 2.0, 10.0], [40.0, 4.0, 4.0, 4.0, 45.0]).decided


def test_most_of_the_weight_without_most_markets_decides_nothing() -> None:
    assert not agreement([1.0, 10.0, 100.0], [9.0, 1.0, 1.0]).decided
    assert not agreement([1.0, 1.0, 10.0, 10.0], [3.0, 3.0, 2.0, 2.0]).decided


def test_three_without_weights_are_counted() -> None:
    found = agreement([1.0, 10.0, 1.01], [0.0, 0.0, 0.0])
    assert found.decided and found.agrees == (True, False, True)
