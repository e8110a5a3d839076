"""Texts from others, made fit for messages and patterns: short, printable, on one line."""

from typing import Final

LONGEST_TEXT: Final = 500  # characters that any pattern, log or message sees of a text


def foreign_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """The beginning of `text`, without line breaks, control characters and half characters.

    It is cut before anything else is done with it, so the time does not depend on its length.
    """
    start = text[:longest]
    if not start.isprintable():  # escapes of terminals, halves of surrogate pairs, line breaks
        start = "".join(sign if sign.isprintable() else " " for sign in start)
    return " ".join(start.split())


def cut(text: str, longest: int) -> str:
    """The text; of a longer one the first `longest` characters, and `...`."""
    return text if len(text) <= longest else f"{text[:longest]}..."
