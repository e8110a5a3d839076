"""No fenced block of a document is left without a test that runs or checks it."""

import importlib
from pathlib import Path

from tests.docs.blocks import CLAIMED, blocks, documents


def test_every_block_is_run_or_checked() -> None:
    for file in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.docs.{file.stem}")
    found = [block for document in documents() for block in blocks(document)]
    assert len(found) > 20
    left = [f"{block.document}:{block.line}" for block in found if block not in CLAIMED]
    assert not left, f"blocks that no test runs: {left}"


def test_every_block_says_its_language() -> None:
    for document in documents():
        for block in blocks(document):
            assert block.language, f"{block.document}:{block.line}: name the language"
