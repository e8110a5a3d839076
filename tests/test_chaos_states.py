"""Which rows of a carried-over forming candle the chaos run takes for an earlier state of it."""

import pytest

from chaos.checks import Row, is_earlier_state

LATER = (0, 10.0, 12.0, 8.0, 11.0, 100.0, 1000.0, None, None)


@pytest.mark.parametrize(
    ("row", "earlier"),
    [
        ((0, 10.0, 10.0, 10.0, 10.0, 1.0, 10.0, None, None), True),
        (LATER, True),
        ((0, 10.1, 11.0, 9.0, 10.0, 1.0, 10.0, None, None), False),  # another open
        ((0, 10.0, 12.1, 9.0, 10.0, 1.0, 10.0, None, None), False),
        ((0, 10.0, 11.0, 7.9, 10.0, 1.0, 10.0, None, None), False),
        ((0, 10.0, 11.0, 9.0, 10.0, 101.0, 10.0, None, None), False),
        ((0, 10.0, 11.0, 9.0, 10.0, 1.0, 1001.0, None, None), False),
    ],
)
def test_an_earlier_state_has_the_same_open_and_no_more_of_anything(
    row: Row, earlier: bool
) -> None:
    assert is_earlier_state(row, LATER) is earlier
