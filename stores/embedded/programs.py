"""Programs of embedded servers, copied to where the account that runs them can reach them."""

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
_COMPLETE: Final = "complete"  # the last file of an archive: tar takes a cut one for a whole one

# unpack(folder, name of the copy): the archive on standard input becomes the copy, or nothing does.
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
    """Files and folders of an installed package: `names` below `root`; `copy` names a copy."""

    root: Path
    names: tuple[str, ...]
    copy: str

    def is_copied(self, place: Path) -> bool:
        return (place / self.copy).is_dir()

    def size_mb(self) -> int:
        """The space that a copy needs."""
        paths = [self.root / name for name in self.names]
        files = [*paths, *(file for path in paths for file in path.rglob("*"))]
        return sum(file.stat().st_size for file in files if file.is_file()) // 1_000_000 + 1

    def copied(self, place: Path, lock: int) -> Path:
        """The root of a copy in `place` that everybody may read; it is made if there is none.

        It is written as the owner of `place`, who could otherwise lead root astray while root
        writes there. The writer holds `lock`, for it may outlive us. Raises EmbeddedStoresError.
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
            # A writer that ended early says why; its pipe need not be told.
            with contextlib.suppress(BrokenPipeError):
                self._pack(unpacking)
            try:
                said = unpacking.communicate(timeout=_COPY_DEADLINE_S)[1]
            except subprocess.TimeoutExpired:
                unpacking.kill()
                raise EmbeddedStoresError(
                    f"copying programs to {place} took over {_COPY_DEADLINE_S:.0f} s"
                ) from None
        if unpacking.returncode:
            reason = said.decode(errors="replace").strip() or f"exit code {unpacking.returncode}"
            raise EmbeddedStoresError(f"programs cannot be copied to {place}: {reason}")
        return copy

    def _pack(self, unpacking: "subprocess.Popen[bytes]") -> None:
        with tarfile.open(fileobj=unpacking.stdin, mode="w|", dereference=True) as archive:
            for name in self.names:
                archive.add(self.root / name, name, filter=_for_everybody)
            archive.addfile(tarfile.TarInfo(_COMPLETE))


def _for_everybody(file: tarfile.TarInfo) -> tarfile.TarInfo:
    file.mode = 0o755 if file.isdir() or file.mode & 0o100 else 0o644
    return file


def require_space(store: str, place: Path, needed_mb: int) -> None:
    """Raises DiskFull unless so much is free in `place`."""
    free = free_mb(place)
    if free < needed_mb:
        raise DiskFull(
            f"{store}: the disk is full: no space left in {place}:"
            f" {needed_mb} MB are needed, {free} are free"
        )
