"""Modules of users for tests: written into a folder, found from it, forgotten afterwards."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workers import declared

Write = Callable[[str, str], Path]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes `plugins/funds.py` given `plugins.funds` and its text, in the working directory; what
    such modules declare is forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known, before = set(sys.modules), list(declared.DECLARED)

    def write(name: str, text: str) -> Path:
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    yield write
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or str(getattr(module, "__path__", [""])[:1])
        if name not in known and str(tmp_path) in file:
            del sys.modules[name]
    declared.DECLARED[:] = before
