"""What is wrong with an archive's file, and with single lines of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_MOST_SHOWN: Final = 20


class ArchiveError(ValueError):
    """A file that cannot be imported; the message says why, and what to do, without its name."""


class UnknownFile(ArchiveError):
    """A file whose name is of none of the kinds that can be imported."""


@dataclass(frozen=True, slots=True, order=True)
class RefusedLine:
    """A line that was left out; lines are counted from 1, the header included."""

    line: int
    cause: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.cause}"


@dataclass(slots=True)
class Refusals:
    """The lines of a file that were left out: how many, and the first that were found."""

    count: int = 0
    first: list[RefusedLine] = field(default_factory=list)

    def add(self, line: int, cause: str) -> None:
        self.count += 1
        if len(self.first) < _MOST_SHOWN:
            self.first.append(RefusedLine(line, cause))

    def texts(self) -> Iterator[str]:
        """A text for each of the first ones, by line, and one for all others."""
        yield from map(str, sorted(self.first))
        if (others := self.count - len(self.first)) > 0:
            yield f"{others} further lines"
