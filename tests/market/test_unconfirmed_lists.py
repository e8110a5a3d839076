"""A list that would remove many markets: exact numbers around a tenth, three, and a minute."""

import pytest

from market.unconfirmed_lists import UnconfirmedList, unconfirmed_list

NOW_MS = 1_700_000_000_000


def names(count: int, first: int = 0) -> list[str]:
    return [f"C{number:03}USDT" for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("removed", "active", "believed"),
    [
        (0, 40, True),
        (3, 4, True),  # three are never many
        (3, 29, True),
        (4, 39, False),  # more than a tenth, and more than three
        (4, 40, True),  # a tenth
        (4, 4, False),
        (95, 950, True),
        (96, 950, False),
        (39, 40, False),
    ],
)
def test_many_are_more_than_a_tenth_and_more_than_three(
    removed: int, active: int, believed: bool
) -> None:
    found = unconfirmed_list(names(removed), active, before=None, seen_at_ms=NOW_MS)
    assert (found is None) is believed
    if found is not None:
        assert found == UnconfirmedList(NOW_MS, tuple(names(removed)))


@pytest.mark.parametrize(
    ("after_ms", "believed"), [(0, False), (59_999, False), (60_000, True), (86_400_000, True)]
)
def test_the_same_is_believed_a_minute_later(after_ms: int, believed: bool) -> None:
    before = UnconfirmedList(NOW_MS, tuple(names(20)))
    found = unconfirmed_list(names(20), 40, before=before, seen_at_ms=NOW_MS + after_ms)
    assert found == (None if believed else before)  # and the minute goes on from the first


def test_another_list_is_unconfirmed_anew() -> None:
    before = UnconfirmedList(NOW_MS, tuple(names(20)))
    for other in (names(19), names(21), names(20, first=1)):
        found = unconfirmed_list(other, 40, before=before, seen_at_ms=NOW_MS + 60_000)
        assert found == UnconfirmedList(NOW_MS + 60_000, tuple(other))


def test_one_that_is_well_again_is_believed_at_once() -> None:
    before = UnconfirmedList(NOW_MS, tuple(names(20)))
    assert unconfirmed_list([], 40, before=before, seen_at_ms=NOW_MS + 1) is None


def test_a_clock_that_went_back_confirms_nothing() -> None:
    before = UnconfirmedList(NOW_MS, tuple(names(20)))
    found = unconfirmed_list(names(20), 40, before=before, seen_at_ms=NOW_MS - 1)
    assert found == UnconfirmedList(NOW_MS - 1, tuple(names(20)))
