"""Escapes of unprintable characters: what they leave, and that they can be read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from texts.printable import escaped, printable, unescaped

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("币安人生USDT é", "币安人生USDT é"),
        ("\x1b]0;title", r"\x1b]0;title"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # turns the direction of what follows
        ("a\u200bb\u2028c\u00a0d", r"a\u200bb\u2028c\xa0d"),
        ("\ud800\U000e0001", r"\ud800\U000e0001"),
        ("\x9b31m", r"\x9b31m"),  # the 8-bit form of ESC [
        ("C:\\x1b", "C:\\x1b"),
    ],
)
def test_what_a_terminal_would_obey_becomes_an_escape(text: str, told: str) -> None:
    assert printable(text) == told


def test_characters_may_be_kept() -> None:
    assert printable("a\n\x1b", keep="\n") == "a\n\\x1b"


@given(ANY_TEXT, st.sampled_from(["", ";", ";,"]))
def test_an_escaped_text_is_printable_and_comes_back(text: str, also: str) -> None:
    shown = escaped(text, also)
    assert shown.isprintable()
    assert not set(shown) & set(also)
    assert unescaped(shown) == text


@pytest.mark.parametrize("text", ["\\", "a\\q", "\\x1", "\\u12", "\\U00110000"])
def test_other_backslashes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a backslash begins"):
        unescaped(text)
