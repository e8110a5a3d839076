"""The fenced blocks of the documents, and which of them a test has taken charge of."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block: where it stands, the word after the fence, and its text."""

    document: str
    line: int
    language: str
    text: str


# What the modules beside this one run or check, filled when they are imported.
CLAIMED: Final[set[Block]] = set()


def documents() -> list[str]:
    """The documents that users read, as paths from the root."""
    files = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("client/*.md"))
    return sorted(str(file.relative_to(ROOT)) for file in files)


def blocks(document: str) -> Iterator[Block]:
    """The fenced blocks of a document, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(document, line, found[1], found[2])


def claim(document: str, words: str) -> Block:
    """The one block of the document that holds these words; the caller runs it."""
    found = [block for block in blocks(document) if words in block.text]
    assert len(found) == 1, f"{document}: {len(found)} blocks hold {words!r}"
    CLAIMED.add(found[0])
    return found[0]
