"""Titles of news, compared: which of them are those of one story."""

import re
import unicodedata
from typing import Final

SAME_TITLE_MS: Final = 48 * 3_600_000  # of equal titles that are further apart, each is a story
_FEWEST_WORDS: Final = 4  # "Market wrap" is the title of many stories
_NOT_WORD: Final = re.compile(r"[^\w]+")


def title_key(title: str) -> str:
    """The same for titles that differ by case, accents, signs and spaces alone; empty for one that
    is too short to know a story by."""
    plain = unicodedata.normalize("NFKD", title).casefold()
    letters = "".join(each for each in plain if not unicodedata.combining(each))
    words = _NOT_WORD.sub(" ", letters.replace("'", "").replace("’", "")).split()
    return " ".join(words) if len(words) >= _FEWEST_WORDS else ""
