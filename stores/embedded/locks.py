"""Locks on files, by which processes of ours agree on who starts and who stops a server."""

import fcntl
import os
from pathlib import Path


def try_lock(descriptor: int, kind: int) -> bool:
    """Takes the flock if nobody is in its way."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
