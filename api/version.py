"""The number of this release, as pyproject.toml has it."""

import tomllib
from pathlib import Path


def read_version() -> str:
    """Reads the file: it is beside the program wherever that runs."""
    file = Path(__file__).resolve().parents[1] / "pyproject.toml"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
