"""The names of environment variables that a key of workers' configuration is read from."""

import re
from typing import Final

from config import Settings

# A worker called `api` with the key `token` must not be given API_TOKEN.
_OURS: Final = frozenset(name.upper() for name in Settings.model_fields)
_SHARED: Final = "WORKER_CONFIG"
_OTHER: Final = re.compile(r"[^A-Z0-9]")


def names_of(worker: str | None, key: str) -> list[str]:
    """The variables that a key of a worker is read from, the first that is set counts:
    <NAME>_<KEY>, unless that is a setting of Perpcache, and WORKER_CONFIG_<KEY>."""
    own = [] if worker is None else [_name(worker, key)]
    return [name for name in (*own, _name(_SHARED, key)) if name not in _OURS]


def _name(worker: str, key: str) -> str:
    return _OTHER.sub("_", f"{worker}_{key}".upper())
