"""The bytes of an archive file: read whole within bounds, checked, and unpacked in memory.

Nothing is written and no path is taken from an archive: it must hold exactly one file, with the
name that its own name tells.
"""

import hashlib
import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from history.archive.errors import ArchiveError
from history.archive.names import CHECKSUM, ArchiveName

# A line has 60 to 140 bytes; the first files have each twice.
_MOST_LINE_BYTES: Final = 512
_LEAST_LIMIT: Final = 65_536
# Of a month whose price stands still, 20; of what a bomb is made of, 1000.
_MOST_RATIO: Final = 200
_MOST_DIRECTORY: Final = 4096  # bytes, of one entry
_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x07"
_END_BYTES: Final = 22
_CHECKSUM: Final = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?([^\s/\\]+)\s*")
_MOST_CHECKSUM: Final = 1024
# What zipfile raises for bytes that are no archive, or one of another kind.
_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, IndexError,
    KeyError, TypeError, OverflowError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """The text of a file, and the checksum and size of the file itself. `checked`: its checksum
    is the one that the archive tells."""

    text: bytes
    sha256: str
    size: int
    checked: bool


def read_file(path: Path, name: ArchiveName, *, require_checksum: bool = False) -> Content:
    """Reads and unpacks the file. Raises ArchiveError."""
    data = read_bounded(path, most_bytes(name))
    sha256 = hashlib.sha256(data).hexdigest()
    checked = _check(path, name, sha256)
    if require_checksum and not checked:
        raise ArchiveError(f"no {name.name}{CHECKSUM} lies beside it: download it, too")
    return Content(unpacked(data, name), sha256, len(data), checked)


def most_bytes(name: ArchiveName) -> int:
    """The most bytes that a file of this name may have, packed or unpacked."""
    return max(_LEAST_LIMIT, name.instants * _MOST_LINE_BYTES)


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file. Raises ArchiveError if they are more, or cannot be read."""
    try:
        if not path.is_file():
            raise ArchiveError("it is no regular file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise ArchiveError(f"it has more than {most} bytes, the most for what its name says")
    return data


def unpacked(data: bytes, name: ArchiveName) -> bytes:
    """The text in the file's bytes. Raises ArchiveError."""
    if not name.packed:
        return data
    most = most_bytes(name)
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _member(archive, name, most)
    except ArchiveError:
        raise
    except _UNREADABLE as error:
        raise ArchiveError(
            f"the zip archive is truncated or damaged ({error}): download it again"
        ) from None


def _check_directory(data: bytes) -> None:
    """Raises ArchiveError for a directory of more than a few entries, before it is read."""
    place = data.rfind(_END, max(0, len(data) - _LEAST_LIMIT))
    if place < 0 or len(data) - place < _END_BYTES:
        raise ArchiveError("the zip archive is truncated: download it again")
    (size,) = struct.unpack_from("<I", data, place + 12)
    if size > _MOST_DIRECTORY or _END64 in data[max(0, place - 20) : place]:
        raise ArchiveError("the zip archive holds more than one file")


def _member(archive: zipfile.ZipFile, name: ArchiveName, most: int) -> bytes:
    members = archive.infolist()
    if len(members) != 1 or members[0].filename != name.member:
        raise ArchiveError(f"the zip archive must hold {name.member}, and nothing else")
    (member,) = members
    if member.flag_bits & 1:
        raise ArchiveError("the zip archive is encrypted")
    # What the directory says may be wrong, so what comes out is counted, too.
    if member.file_size > most or member.file_size > _MOST_RATIO * max(1, member.compress_size):
        raise ArchiveError(f"it unpacks to {member.file_size} bytes, more than its name allows")
    with archive.open(member) as file:
        text = file.read(most + 1)
        if len(text) > most:
            raise ArchiveError(f"it unpacks to more than {most} bytes, the most for its name")
    if len(text) != member.file_size:
        raise ArchiveError("the zip archive is truncated: download it again")
    return text


def _check(path: Path, name: ArchiveName, sha256: str) -> bool:
    """Whether the checksum that lies beside the file is the file's; False without one.

    Raises ArchiveError if it is another.
    """
    beside = path.with_name(path.name + CHECKSUM)
    if not beside.is_file():
        return False
    try:
        text = read_bounded(beside, _MOST_CHECKSUM).decode()
    except (ArchiveError, UnicodeDecodeError):
        text = ""
    found = _CHECKSUM.fullmatch(text)
    if found is None or found[2] != name.name:
        raise ArchiveError(f"{beside.name} is no checksum of it: download both again")
    if found[1].lower() != sha256:
        raise ArchiveError(
            f"its sha256 is {sha256}, and {beside.name} says {found[1]}: download it again"
        )
    return True
