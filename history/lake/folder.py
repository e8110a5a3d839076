"""The folder of an export: locked by one export at a time; its files are replaced whole or not.

A file is written under a temporary name, brought to the disk, and renamed: whatever ends when, each
name leads to a whole file, the one before or the new one.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Final

from history.lake.errors import ExportError, FolderInUse
from stores.embedded.locks import try_lock

# Of no name that readers look for: `*.parquet` does not match it, and it is hidden.
TEMPORARY: Final = ".tmp"
_LOCK: Final = ".export.lock"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LakeFolder:
    """A folder that this export alone writes, as a context."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes and locks the folder. Raises FolderInUse, ExportError."""
        with self.told_errors():
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # The file stays: another export that has opened it would lock what is no longer there.
            if not try_lock(descriptor, fcntl.LOCK_EX):
                raise FolderInUse(f"another export writes into {self.root} now: wait for its end")
            yield
        finally:
            os.close(descriptor)

    def place(self, path: str) -> Path:
        """The file of that path."""
        return self.root.joinpath(*path.split("/"))

    @contextlib.contextmanager
    def told_errors(self) -> Iterator[None]:
        """Errors of the file system as ExportError, in words for users."""
        try:
            yield
        except OSError as error:
            place = error.filename or self.root
            if error.errno in _FULL:
                raise ExportError(
                    f"{self.root} is full ({error.strerror}): what is complete stays, the rest is"
                    " written by the next export, once there is room"
                ) from error
            raise ExportError(f"{place}: {error.strerror or error}") from error

    @contextlib.contextmanager
    def replacing(self, path: str) -> Iterator["Replacement"]:
        """A new file for that path, which takes its place by `commit`; without it nothing changes.

        Raises ExportError for what the file system says inside.
        """
        place = self.place(path)
        temporary = place.with_name(f".{place.name}{TEMPORARY}")
        with self.told_errors():
            place.parent.mkdir(parents=True, exist_ok=True)
            file = temporary.open("w+b")
            try:
                with contextlib.closing(file):
                    yield Replacement(file, temporary, place)
            finally:
                temporary.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        with self.told_errors():
            self.place(path).unlink(missing_ok=True)

    def remove_leftovers(self, paths: Iterator[str]) -> None:
        """Removes what killed exports have left under the temporary names of these paths."""
        for path in paths:
            place = self.place(path)
            with contextlib.suppress(OSError):
                place.with_name(f".{place.name}{TEMPORARY}").unlink(missing_ok=True)


class Replacement:
    """A file that is being written; `file` is open for its content."""

    def __init__(self, file: BufferedRandom, temporary: Path, place: Path) -> None:
        self.file = file
        self._temporary = temporary
        self._place = place

    def digest(self) -> tuple[str, int]:
        """The SHA-256 of what was written, and its bytes."""
        self.file.flush()
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest(), self.file.tell()

    def commit(self) -> int:
        """Puts the file in its place; returns its time of change, in ns."""
        self.file.flush()
        os.fsync(self.file.fileno())
        changed_ns = os.fstat(self.file.fileno()).st_mtime_ns
        self._temporary.rename(self._place)
        _sync_folder(self._place.parent)
        return changed_ns


def digest_of(place: Path) -> str | None:
    """The SHA-256 of a file; None if it cannot be read."""
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Brings the new name to the disk. Not every file system can, and none needs it to be read."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
