"""The registry's files: TOML read into tables that know on which line they stand."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LARGEST_BYTES: Final = 1_000_000
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w.\"' -]+?)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"\s*([\w-]+|\"[^\"]*\"|'[^']*')\s*[.=]")
_PART: Final = re.compile(r"[\w-]+|\"[^\"]*\"|'[^']*'")

# Where a value stands: names of tables and keys, and the numbers of tables in arrays, from 0.
Place = tuple[str | int, ...]


class RegistryError(Exception):
    """The registry cannot be used; `lines` has one line for each mistake: file:line: reason."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """A file's tables, and the line on which each of them and each of their keys begins."""

    path: Path
    tables: Mapping[str, Any]
    lines: Mapping[Place, int]

    def at(self, *where: str | int) -> str:
        """`file:line` of a value, or of the nearest table around it."""
        for end in range(len(where), 0, -1):
            if where[:end] in self.lines:
                return f"{self.path}:{self.lines[where[:end]]}"
        return str(self.path)


def read_registry_file(path: Path) -> RegistryFile:
    """Raises RegistryError where it is no TOML that can be read."""
    try:
        if path.exists() and not path.is_file():  # a pipe might never end
            raise RegistryError([f"{path}: is no regular file"])
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise RegistryError([f"{path}: is larger than {LARGEST_BYTES} bytes"])
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RegistryError([f"{path}: cannot be read: {reason}"]) from None
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of syntax, and of numbers without an end
        raise RegistryError([f"{path}: is not TOML: {error}"]) from None
    return RegistryFile(path, tables, lines_of(text))


def lines_of(text: str) -> dict[Place, int]:
    """The line (from 1) of each table's header and of each key below it."""
    found: dict[Place, int] = {}
    arrays: Counter[Place] = Counter()  # how many tables each array has had
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _opened(header[2], header[1] == "[[", arrays)
            for end in range(1, len(table) + 1):
                found.setdefault(table[:end], number)
        elif key := _KEY.match(line):
            found.setdefault((*table, key[1].strip("\"'")), number)
    return found


def _opened(header: str, in_array: bool, arrays: Counter[Place]) -> Place:
    """Where a header's table is, with the numbers of the arrays' tables that it is in."""
    parts = [part.strip("\"'") for part in _PART.findall(header)]
    where: Place = ()
    for place, part in enumerate(parts, 1):
        where = (*where, part)
        if in_array and place == len(parts):
            arrays[where] += 1
        if arrays[where]:
            where = (*where, arrays[where] - 1)
    return where
