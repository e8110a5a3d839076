"""Every link of the documents that leads to a file of the project leads to what is there."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

import pytest

from tests.docs.blocks import ROOT, documents

_CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^()\s]+)\)|\b(?:href|src)=\"([^\"]+)\"")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Link(NamedTuple):
    """A link as it is written: where it stands, its file from the root, and its anchor."""

    document: str
    target: str
    file: Path
    anchor: str


def anchors(document: str) -> set[str]:
    """The anchors that GitHub and the site give to the document's headings."""
    text = _FENCED.sub("", (ROOT / document).read_text(encoding="utf-8"))
    found: Counter[str] = Counter()
    made = set()
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return made


def links(document: str) -> Iterator[Link]:
    """The document's links to files and headings, not those to other sites."""
    text = _CODE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    for target in (one or other for one, other in _LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        yield Link(document, target, file.resolve(), anchor)


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_somewhere(document: str) -> None:
    for link in links(document):
        assert link.file.exists(), f"{document}: {link.target}: there is no such file"
        assert link.file.is_relative_to(ROOT), f"{document}: {link.target}: not in the project"
        if link.anchor:
            headings = anchors(str(link.file.relative_to(ROOT)))
            assert link.anchor in headings, f"{document}: {link.target}: no such heading"


def test_every_page_can_be_found() -> None:
    """From the README on, by links alone; the translations too."""
    found: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        waiting += [link.file for link in links(str(page.relative_to(ROOT)))]
    pages = {ROOT / document for document in documents()}
    assert pages - found == set()


def test_anchors_are_those_of_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(
        "# A `GET /x`, [linked](y.md)\n\n## Twice\n\n"
        "```sh\n# no heading\n```\n\n## Twice\n\n## قیمت\u200cها\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("tests.docs.test_links.ROOT", tmp_path)
    assert anchors("page.md") == {"a-get-x-linked", "twice", "twice-1", "قیمتها"}
