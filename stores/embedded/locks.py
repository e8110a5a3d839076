"""File locks (flock) that never block, and the check that a locked file was not replaced."""

import fcntl
import os
from pathlib import Path


def try_lock(descriptor: int, kind: int) -> bool:
    """Takes the flock; False if another process holds a conflicting one."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
