"""Plain text out of what feeds call text: HTML, entities escaped twice, signs that nobody sees."""

import re
import unicodedata
from typing import Final

from selectolax.lexbor import LexborHTMLParser

_MOST_READ: Final = 50_000  # characters of HTML; summaries are cut far below
_ROUNDS: Final = 3  # how often text may have been escaped
_NEVER_TEXT: Final = "script, style, template, noscript, iframe, object, textarea, select, svg"
_BLOCK: Final = re.compile(
    r"<(?=/?(?:p|div|br|hr|li|ul|ol|dl|dt|dd|h[1-6]|tr|td|th|table|section|article|blockquote|pre"
    r"|figure|figcaption)\b)",
    re.IGNORECASE,
)
_SPACE: Final = re.compile(r"\s+")
# Cc controls, Cf format signs (zero width, direction), Co and Cs what is no character.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs"})
_JOINER: Final = "\u200d"  # holds parts of emoji together


def plain_text(html: str, longest: int | None = None) -> str:
    """On one line, without tags, scripts and unseen signs; cut at a word, with an ellipsis."""
    text = html[:_MOST_READ]
    for _ in range(_ROUNDS):
        if "<" not in text and "&" not in text:
            break
        before, text = text, _text_of(text)
        if text == before:
            break
    seen = "".join(each for each in _SPACE.sub(" ", text) if _is_seen(each))
    line = _SPACE.sub(" ", unicodedata.normalize("NFC", seen)).strip()
    return line if longest is None or len(line) <= longest else _cut(line, longest)


def _text_of(html: str) -> str:
    body = LexborHTMLParser(_BLOCK.sub(" <", html)).body
    if body is None:
        return ""
    for node in body.css(_NEVER_TEXT):
        node.decompose()
    return str(body.text())


def _is_seen(character: str) -> bool:
    return character == _JOINER or unicodedata.category(character) not in _UNSEEN


def _cut(line: str, longest: int) -> str:
    head = line[: longest - 1]
    whole_words, space, _ = head.rpartition(" ")
    return f"{(whole_words if len(space and whole_words) > longest // 2 else head).rstrip()}…"
