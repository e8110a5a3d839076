"""Pages in other languages: their code, messages and defaults are those of the English pages."""

import re
from typing import Final

import pytest

from tests.docs import settings_table
from tests.docs.blocks import CLAIMED, ROOT, blocks, documents

PERSIAN: Final = [page for page in documents() if page.startswith("docs/fa/")]
TRANSLATED: Final = [*PERSIAN, "README.ru.md", "README.vi.md"]
ENGLISH: Final = {
    (block.language, block.text)
    for page in documents()
    if page not in TRANSLATED
    for block in blocks(page)
}
# Equal to blocks that other tests run.
CLAIMED.update(block for page in TRANSLATED for block in blocks(page) if (block[2:]) in ENGLISH)


@pytest.mark.parametrize("page", TRANSLATED)
def test_its_code_is_that_of_an_english_page(page: str) -> None:
    for block in blocks(page):
        assert (block.language, block.text) in ENGLISH, f"{page}:{block.line}"


def test_there_is_a_page_of_each_subject() -> None:
    subjects = {page.rpartition("/")[2].removesuffix(".md") for page in PERSIAN}
    wanted = {"install", "api", "sql", "fallback", "troubleshooting", "tuning"}
    assert subjects == {"index", *wanted}


@pytest.mark.parametrize("page", PERSIAN)
def test_persian_is_written_from_right_to_left_and_code_is_not(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.startswith('<div dir="rtl">\n\n# ')
    assert text.endswith("\n\n</div>\n")
    code = len(list(blocks(page)))
    assert len(re.findall(r'<div dir="ltr">\n\n```', text)) == code
    assert text.count("</div>") == code + 1


def test_defaults_of_settings_are_those_of_the_code() -> None:
    told = dict(settings_in("docs/settings.md"))
    checked = 0
    for page in (*TRANSLATED, "docs/tuning.md"):
        for name, default in settings_in(page):
            assert default == told[name], f"{page}: {name}"
            checked += 1
    assert checked > 28


def settings_in(page: str) -> list[tuple[str, str]]:
    """Each setting of the page's tables with its default."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page == "docs/settings.md":
        return [
            (name, default if ", " not in default else default.split(", ")[place])
            for names, default in settings_table.rows(text)
            for place, name in enumerate(names)
        ]
    return re.findall(r"^\| `([A-Z][A-Z_0-9]+)` \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
