"""Changes of the Lua scripts inside Python strings: comparisons, numbers, conditions, commands."""

import re
from collections.abc import Iterator
from typing import Final

_WORDS: Final = {
    "==": "~=",
    "~=": "==",
    "<=": "<",
    ">=": ">",
    "<": "<=",
    ">": ">=",
    "and": "or",
    "or": "and",
    "true": "false",
    "false": "true",
    " + ": " - ",
    " - ": " + ",
    " * ": " / ",
    "not ": "",
}
_WORD: Final = re.compile(
    r"==|~=|<=|>=|<|>|\band\b|\bor\b|\btrue\b|\bfalse\b| \+ | - | \* |\bnot "
    r"|(?<![\w'\[{])\d+(?![\w'\]}])"
)
_COMMENT: Final = re.compile(r"--.*")
_STATEMENT: Final = re.compile(
    r"^[ ]*(redis\.p?call\((?:[^()\n]|\([^()]*\))*\))[ ]*$", re.MULTILINE
)
# Texts are no code, but the names of commands and fields in them are looked at below.
_QUOTED: Final = re.compile(r"'([^'\n]*)'")
_NAME: Final = re.compile(r"[a-z_]{3,}")


def lua_changes(text: str) -> Iterator[tuple[int, int, str]]:
    """The changes of a script: where each begins and ends in `text`, and the new text."""
    hidden = _blank(_COMMENT, text)
    for match in _QUOTED.finditer(hidden):
        if _NAME.fullmatch(match[1]):
            yield match.start(1), match.end(1), match[1] + "X"
    bare = _blank(_QUOTED, hidden)
    for match in _WORD.finditer(bare):
        word = match[0]
        yield match.start(), match.end(), _WORDS.get(word) or _next(word)
    for match in _STATEMENT.finditer(hidden):
        yield match.start(1), match.end(1), "local nothing"


def _next(word: str) -> str:
    return str(int(word) + 1) if word.isdigit() else ""


def _blank(pattern: "re.Pattern[str]", text: str) -> str:
    """The text with spaces in place of what matches."""
    return pattern.sub(lambda match: " " * len(match[0]), text)
