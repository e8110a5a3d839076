"""One mutant: a small change of one file, with an id that names it without line numbers."""

import difflib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """The bytes `begin` to `end` of the file `path` become `after`.

    `lines` are the numbers of the changed lines, and `line` is the first of them. `place` is the
    function, class or constant that they belong to, and `around` the numbers of its lines.
    """

    path: str
    begin: int
    end: int
    before: str
    after: str
    lines: tuple[int, int]
    place: str
    around: tuple[int, int]
    line: str

    @property
    def id(self) -> str:
        """Stays the same while the rest of the file changes."""
        change = f"{_one_line(self.before)} => {_one_line(self.after)}"
        return f"{self.path} {self.place}: {change} in {self.line}"

    def applied(self, source: bytes) -> bytes:
        """The file's text with the change."""
        return source[: self.begin] + self.after.encode() + source[self.end :]

    def diff(self, root: Path) -> str:
        """The change as a unified diff."""
        source = (root / self.path).read_bytes()
        old, new = (text.decode().splitlines() for text in (source, self.applied(source)))
        return "\n".join(difflib.unified_diff(old, new, self.path, self.path, n=1, lineterm=""))


def _one_line(text: str) -> str:
    return " ".join(text.split())
