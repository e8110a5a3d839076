"""Copies of server programs in a folder that the server's account can read, and free space."""

import contextlib
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stores.embedded.errors import DiskFull, EmbeddedStoresError
from stores.embedded.folders import free_mb, owner_of

_COPY_DEADLINE_S: Final = 60.0
_COMPLETE: Final = "complete"  # the archive's last file, because tar accepts a truncated archive

# unpack(folder, name of the copy): unpacks the archive on standard input, completely or not at all.
_UNPACK: Final = f"""
set -e
umask 022
cd -- "$1"
trap 'rm -rf unfinished-programs' EXIT
rm -rf unfinished-programs
mkdir unfinished-programs
tar -x -p -o -f - -C unfinished-programs
test -e unfinished-programs/{_COMPLETE}
mv unfinished-programs "$2"
"""


@dataclass(frozen=True, slots=True)
class ProgramFiles:
    """Files and folders `names` below `root` of a package; `copy` is the name of their copy."""

    root: Path
    names: tuple[str, ...]
    copy: str

    def is_copied(self, place: Path) -> bool:
        return (place / self.copy).is_dir()

    def size_mb(self) -> int:
        """The space that a copy needs, rounded up."""
        paths = [self.root / name for name in self.names]
        files = [*paths, *(file for path in paths for file in path.rglob("*"))]
        return sum(file.stat().st_size for file in files if file.is_file()) // 1_000_000 + 1

    def ensure_copy(self, place: Path, lock: int) -> Path:
        """The root of a world-readable copy in `place`, which is created if missing.

        The owner of `place` writes it, because that owner could misdirect root's writes with
        links. The writer inherits `lock`, as it may outlive us. Raises EmbeddedStoresError.
        """
        copy = place / self.copy
        if copy.is_dir():
            return copy
        with subprocess.Popen(  # noqa: S603 - our own arguments
            ["/bin/sh", "-c", _UNPACK, "sh", os.fspath(place), self.copy],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(lock,),
            **owner_of(place).run_options(),
        ) as unpacking:
            # If the child ends early, its own error message is reported below.
            with contextlib.suppress(BrokenPipeError):
                self._pack(unpacking)
            try:
                output = unpacking.communicate(timeout=_COPY_DEADLINE_S)[1]
            except subprocess.TimeoutExpired:
                unpacking.kill()
                raise EmbeddedStoresError(
                    f"copying programs to {place} took over {_COPY_DEADLINE_S:.0f} s"
                ) from None
        if unpacking.returncode:
            reason = output.decode(errors="replace").strip() or f"exit code {unpacking.returncode}"
            raise EmbeddedStoresError(f"programs cannot be copied to {place}: {reason}")
        return copy

    def _pack(self, unpacking: "subprocess.Popen[bytes]") -> None:
        with tarfile.open(fileobj=unpacking.stdin, mode="w|", dereference=True) as archive:
            for name in self.names:
                archive.add(self.root / name, name, filter=_world_readable)
            archive.addfile(tarfile.TarInfo(_COMPLETE))


def _world_readable(file: tarfile.TarInfo) -> tarfile.TarInfo:
    file.mode = 0o755 if file.isdir() or file.mode & 0o100 else 0o644
    return file


def require_space(store: str, place: Path, needed_mb: int) -> None:
    """Raises DiskFull unless `needed_mb` are free in `place`."""
    free = free_mb(place)
    if free < needed_mb:
        raise DiskFull(
            f"{store}: the disk is full: no space left in {place}:"
            f" {needed_mb} MB are needed, {free} are free"
        )
