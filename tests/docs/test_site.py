"""`make docs`: the site is built from the pages without a warning, and has all of them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, documents
from tests.fixtures.environments import environment


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_has_every_page(tmp_path: Path) -> None:
    recipe = re.search(r"^\t@\$\(DOCS_VENV\)/bin/python (-m sphinx .+)$", makefile(), re.MULTILINE)
    assert recipe is not None
    words = shlex.split(recipe[1].replace("docs/site/built", str(tmp_path)))
    assert {"-W", "--keep-going"} <= set(words)
    program = environment("docs") / "python"
    done = subprocess.run(  # noqa: S603 - our own program
        [program, *words], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    for document in documents():
        assert (tmp_path / document).with_suffix(".html").is_file(), document
    assert "docs/index.html" in (tmp_path / "index.html").read_text(encoding="utf-8")
    first = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert 'href="troubleshooting.html"' in first
    persian = (tmp_path / "docs" / "fa" / "api.html").read_text(encoding="utf-8")
    assert re.search(r'<html[^>]* lang="fa"', persian)
    assert 'dir="rtl"' not in persian  # the style does it, and leaves the site's menu as it is


def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def test_its_packages_are_locked_with_the_others() -> None:
    lists = re.search(r"for set in ([^;]+);", makefile())
    assert lists is not None
    there = {file.stem for file in ROOT.glob("requirements*.in")}
    assert set(lists[1].split()) == there
