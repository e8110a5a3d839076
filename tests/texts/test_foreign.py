"""Texts from others: short, printable and on one line, whatever came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from texts.foreign import LONGEST_TEXT, cut, foreign_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  two\r\nlines ", "two lines"),
        ("\x1b[31mred\x07", "[31mred"),
        ("half \ud800 a pair", "half a pair"),
        ("right\u202eleft", "right left"),
        ("龙虾", "龙虾"),
        ("", ""),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert foreign_text(text) == shown


def test_it_is_cut() -> None:
    assert LONGEST_TEXT == 500
    assert foreign_text("x" * 10**6) == "x" * 500
    assert foreign_text("x" * 90, 20) == "x" * 20


def test_a_cut_is_shown() -> None:
    assert cut("x" * 20, 20) == "x" * 20
    assert cut("x" * 21, 20) == "x" * 20 + "..."


@given(st.text(st.characters(), max_size=700))
def test_every_text(text: str) -> None:
    shown = foreign_text(text)
    assert len(shown) <= 500
    assert shown.isprintable()
    shown.encode()  # no half of a surrogate pair is left
