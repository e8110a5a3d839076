"""manifest.json of an export: which files it has, what is in each, and as of when."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import orjson

from history.lake.errors import ExportError
from history.lake.folder import LakeFolder, digest_of
from history.lake.wanted import Form

NAME: Final = "manifest.json"
_FORMAT: Final = "perpcache-export"
_VERSION: Final = 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file. Times are UTC ms.

    `first` and `last`: times of its rows; `from` and `to`: the range that it was asked for;
    `newest_known_at`: of its rows; `as_of`: it tells what the record told of that time. `state`:
    that of the record behind it, empty if that may tell more. `changed_ns`: the file's own time.
    """

    rows: int
    bytes: int
    sha256: str
    first: int
    last: int
    newest_known_at: int
    as_of: int
    from_ms: int = msgspec.field(name="from")
    to_ms: int = msgspec.field(name="to")
    state: str = ""
    changed_ns: int = 0


class _Stored(msgspec.Struct, kw_only=True):
    format: str
    version: int
    layout: Form
    as_of: int | None = None
    symbols: list[str] | None = None
    rows: int = 0
    bytes: int = 0
    writing: list[str] = []
    files: dict[str, Entry] = {}


@dataclass(slots=True)
class Manifest:
    """`as_of_ms`: of the newest export that was ended. `symbols`: that were asked for, None for
    all. `writing`: the paths that an export began to write, listed in `files` or not yet."""

    layout: Form
    symbols: list[str] | None
    as_of_ms: int | None = None
    writing: set[str] = field(default_factory=set)
    files: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: LakeFolder) -> "Manifest | None":
        """That of the folder, None if there is none. Raises ExportError for one that cannot be
        read."""
        place = folder.root / NAME
        try:
            with folder.told_errors():
                content = place.read_bytes()
        except ExportError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        try:
            head = msgspec.json.decode(content, type=_Head)
            if head.format != _FORMAT:
                raise ExportError(f"{place} is not of an export of Perpcache: give another folder")
            if head.version != _VERSION:
                raise ExportError(
                    f"{place} has the version {head.version}, and this release knows {_VERSION}:"
                    " give another folder, or use the release that wrote it"
                )
            stored = msgspec.json.decode(content, type=_Stored)
        except msgspec.MsgspecError as error:
            raise ExportError(
                f"{place} is damaged ({error}): remove it with the files beside it, or give another"
                " folder"
            ) from error
        return cls(
            stored.layout, stored.symbols, stored.as_of, set(stored.writing), dict(stored.files)
        )

    def save(self, folder: LakeFolder) -> None:
        """Replaces the folder's manifest. Raises ExportError."""
        entries = dict(sorted(self.files.items()))
        stored = _Stored(
            format=_FORMAT,
            version=_VERSION,
            layout=self.layout,
            as_of=self.as_of_ms,
            symbols=self.symbols,
            rows=sum(entry.rows for entry in entries.values()),
            bytes=sum(entry.bytes for entry in entries.values()),
            writing=sorted(self.writing),
            files=entries,
        )
        content = orjson.dumps(msgspec.to_builtins(stored), option=orjson.OPT_INDENT_2)
        with folder.replacing(NAME) as replacement:
            replacement.file.write(content + b"\n")
            replacement.commit()

    def is_intact(self, folder: LakeFolder, path: str, *, verify: bool) -> bool:
        """Whether the file is as it was written. One of the same size and time of change is only
        read if `verify` says so."""
        entry, place = self.files.get(path), folder.place(path)
        try:
            state = place.stat()
        except OSError:
            return False
        if entry is None or state.st_size != entry.bytes:
            return False
        if not verify and state.st_mtime_ns == entry.changed_ns:
            return True
        return digest_of(place) == entry.sha256


class _Head(msgspec.Struct):
    format: str
    version: int


def exists(place: Path) -> bool:
    """Whether anything lies there."""
    return place.exists() or place.is_symlink()
