"""The variables that are not settings: of this process, else of the .env in its folder."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values


def environment_of(folder: Path | None = None) -> Mapping[str, str]:
    """The variables that are set to something, by upper-case name: of this process, else of the
    .env in a folder (None: the current one). An unreadable .env counts as none, because Settings
    has told of it."""
    path = (folder or Path()) / ".env"
    try:
        written = dotenv_values(path) if path.is_file() else {}
    except (OSError, UnicodeDecodeError):
        written = {}
    found = {name.upper(): value for name, value in written.items() if value}
    return found | {name.upper(): value for name, value in os.environ.items() if value}
