"""The version of this release, read from pyproject.toml."""

import tomllib
from pathlib import Path


def read_version() -> str:
    """The `project.version` of pyproject.toml, which is always beside main.py."""
    file = Path(__file__).resolve().parents[1] / "pyproject.toml"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
