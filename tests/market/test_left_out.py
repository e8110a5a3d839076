"""How rows that were left out are told, and read again from what was told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.left_out import MOST_NAMED, LeftOut, at_most_named, read_left_out

ROW = LeftOut(1_700_000_000_000, "impossible prices")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (ROW, "row at 1700000000000 left out: impossible prices"),
        (ROW._replace(after=True), "row after 1700000000000 left out: impossible prices"),
        (LeftOut(1_700_000_000_000, "", rows=37), "and 37 more, up to 1700000000000"),
        (ROW._replace(time_ms=-1), "row at -1 left out: impossible prices"),
        (LeftOut(1 - 10**15, "", rows=2), "and 2 more, up to -999999999999999"),
    ],
)
def test_what_is_told_is_read_again(row: LeftOut, text: str) -> None:
    assert row.text() == text
    assert read_left_out(text) == row


@given(st.text(min_size=1), st.integers(1 - 10**15, 10**15 - 1))
def test_any_reason_can_be_told(reason: str, time_ms: int) -> None:
    text = LeftOut(time_ms, f"a{reason}").text()
    assert text.isprintable()
    assert len(text) < 200
    found = read_left_out(text)
    assert found is not None
    assert found.text() == text


@pytest.mark.parametrize(
    "text",
    [
        "no answer within 10 s (HTTP 504)",
        "unexpected answer: none of its 9 rows is valid: row at 5 left out: so",
        "row at 5 left out: ",
        "row at ٣ left out: so",
        "row at 5000000000000000 left out: so",
        "and 5 more",
        "",
    ],
)
def test_other_reasons_are_none_of_a_row(text: str) -> None:
    assert read_left_out(text) is None


def test_the_newest_are_named_and_the_others_counted() -> None:
    rows = [LeftOut(n, "so") for n in range(MOST_NAMED + 5)]
    assert at_most_named(rows[:MOST_NAMED]) == rows[:MOST_NAMED]
    assert at_most_named([*rows, *rows]) == [LeftOut(4, "", rows=5), *rows[5:]]
    earlier = [LeftOut(2, "", rows=30), *rows[5:]]
    assert at_most_named(earlier) == earlier
    assert at_most_named([*rows, LeftOut(2, "", rows=30)]) == [
        LeftOut(4, "", rows=35), *rows[5:]
    ]  # fmt: skip
    assert at_most_named([]) == []


def test_the_instant_of_the_grid_that_lacks_the_row() -> None:
    assert LeftOut(14_400_061, "so").slot_ms(14_400_000) == 14_400_000
    assert LeftOut(14_400_000, "so").slot_ms(14_400_000) == 14_400_000
    assert LeftOut(14_400_000, "so", after=True).slot_ms(14_400_000) == 28_800_000
