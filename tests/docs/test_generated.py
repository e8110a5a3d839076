"""The parts of the documents that are made from the code and the results are up to date."""

from collections.abc import Callable

import pytest

from tests.docs.blocks import ROOT, claim
from tests.docs.generated import PAGES, PARTS, renewed

# Held by the comparison below: it is made from the modules' opening sentences.
MAP = claim("CONTRIBUTING.md", "main.py ")


@pytest.mark.parametrize(("document", "name", "make"), PARTS)
def test_a_generated_part_is_up_to_date(document: str, name: str, make: Callable[[], str]) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text == renewed(document, name, make), "run: python -m tests.docs.generated"


@pytest.mark.parametrize(("document", "make"), PAGES)
def test_a_generated_page_is_up_to_date(document: str, make: Callable[[str], str]) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text == make(text), "run: python -m tests.docs.generated"
