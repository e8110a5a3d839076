"""The environment of workers' configuration: variables and .env, and the names that a key has."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from config import Settings

# A worker called `api` with the key `token` must not be given API_TOKEN.
_OURS: Final = frozenset(name.upper() for name in Settings.model_fields)
_SHARED: Final = "WORKER_CONFIG"
_OTHER: Final = re.compile(r"[^A-Z0-9]")


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


def names_of(worker: str | None, key: str) -> list[str]:
    """The variables that a key of a worker is read from, the first that is set counts:
    <NAME>_<KEY>, unless that is a setting of Perpcache, and WORKER_CONFIG_<KEY>."""
    own = [] if worker is None else [_name(worker, key)]
    return [name for name in (*own, _name(_SHARED, key)) if name not in _OURS]


def _name(worker: str, key: str) -> str:
    return _OTHER.sub("_", f"{worker}_{key}".upper())
