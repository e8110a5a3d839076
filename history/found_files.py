"""FoundFiles: the files below some paths that can be imported, in their order, and all others."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from history.archive.errors import ArchiveError, UnknownFile
from history.archive.names import CHECKSUM, ArchiveName, parse_name
from history.exported.files import ALLOWED, MANIFEST, ExportedFile, parse_path, read_manifest


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """`archive`: in the order of import, klines before the metrics that they help to read.
    `unknown`: what cannot be imported, each with the reason."""

    archive: list[tuple[ArchiveName, Path]] = field(default_factory=list)
    exported: list[ExportedFile] = field(default_factory=list)
    unknown: list[tuple[Path, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.archive) + len(self.exported) + len(self.unknown)


def find_files(paths: Sequence[Path]) -> FoundFiles:
    """The files that the paths name or, of folders, that lie in them, each once. Links to folders
    are not followed; hidden files, checksums and the manifest of an export are passed over."""
    found = FoundFiles()
    seen: set[Path] = set()
    for path in paths:
        for file in _files_below(path, found):
            if (place := file.absolute()) not in seen:
                seen.add(place)
                _sort_in(file, found)
        found.unknown.extend(_absent(path))
    found.archive.sort(key=lambda each: (each[0].order, each[1]))
    found.exported.sort(key=lambda each: each.path)
    return found


def _files_below(path: Path, found: FoundFiles) -> Iterator[Path]:
    """Notes as unknown what cannot be looked into."""

    def note(error: OSError) -> None:
        place = Path(error.filename or path)
        found.unknown.append((place, f"it cannot be read: {error.strerror or error}"))

    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        found.unknown.append((path, "there is no such file"))
        return
    except OSError as error:
        note(error)
        return
    if not is_folder:
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not (name.startswith(".") or name.endswith(CHECKSUM) or name == MANIFEST):
                yield Path(folder, name)


def _absent(root: Path) -> Iterator[tuple[Path, str]]:
    """The files that the manifest of an export in that folder names, and that are not there: it
    was copied in part."""
    try:
        names = read_manifest(root)
    except ArchiveError:  # told of each of its files
        return
    for name in sorted(names):
        place = root.joinpath(*name.split("/"))
        if parse_path(place) is not None and not os.path.lexists(place):
            yield place, f"{MANIFEST} names it, and it is not there: export or copy it again"


def _sort_in(file: Path, found: FoundFiles) -> None:
    if (exported := parse_path(file)) is not None:
        found.exported.append(exported)
        return
    try:
        found.archive.append((parse_name(file.absolute()), file))
    except UnknownFile as error:
        if file.suffix == ".parquet":
            found.unknown.append((file, f"a Parquet file of an export lies at {ALLOWED}"))
        else:
            found.unknown.append((file, str(error)))
