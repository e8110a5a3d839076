"""The folder for files that are being downloaded: one run's at a time, and emptied at both ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from history.archive.download_errors import CannotKeep

_NAME: Final = "archive-downloads"
_LOCK: Final = "lock"


@contextmanager
def download_folder(data_dir: Path) -> Iterator[Path]:
    """An empty folder in `data_dir`, for this process alone; what a killed run left is removed.

    Raises CannotKeep if another process downloads, or if it cannot be written.
    """
    folder = data_dir / _NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotKeep(f"{folder} cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotKeep(f"another process downloads into {folder}: wait for its end") from None
        _empty(folder)
        try:
            yield folder
        finally:
            _empty(folder)
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    """Removes the files but the lock; there are no folders in it."""
    for file in folder.iterdir():
        if file.name != _LOCK and not file.is_dir():
            file.unlink(missing_ok=True)


class Written:
    """A file that is being written, in the place of what was there. Raises CannotKeep, in words,
    where the disk does not take it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("wb")
        except OSError as error:
            raise self._cannot(error) from None
        return self

    def write(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
        except OSError as error:
            raise self._cannot(error) from None

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise self._cannot(error) from None

    def _cannot(self, error: OSError) -> CannotKeep:
        return CannotKeep(f"{self._path.parent} cannot be written: {error.strerror}")
