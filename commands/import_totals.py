"""What `import` tells of each file, and of all: counts of rows, and how long the rest takes."""

import time
from collections.abc import Iterable

from history.importing import FileReport


class Totals:
    """Counts of all files, and how far the import is."""

    def __init__(self, files: int, *, dry_run: bool = False) -> None:
        self._files = files
        self._dry_run = dry_run
        self._begun_s = time.monotonic()
        self._counts: dict[str, int] = {}
        self._states = {"imported": 0, "known": 0, "refused": 0}
        self.is_whole = True

    def expect(self, files: int) -> None:
        """There are so many files by now: a download finds them as it goes on."""
        self._files = files

    def lines(self, report: FileReport) -> list[str]:
        """What to tell of a file: a line, and one for each thing that is to be known of it."""
        self._states[report.state] += 1
        self.is_whole &= report.is_whole
        for count, words in report.counts():
            self._counts[words] = self._counts.get(words, 0) + count
        done = sum(self._states.values())
        told = (
            {
                "known": "imported before, unchanged",
                "refused": f"refused: {report.cause}",
            }.get(report.state)
            or _counted(report.counts())
            or "no rows"
        )
        lines = [f"[{done}/{self._files}{self._left(done)}] {report.name}: {told}"]
        lines += (f"  {note}" for note in report.notes)
        lines += (f"  {text}" for text in report.refusals.texts())
        return lines

    def _left(self, done: int) -> str:
        """How long the rest takes, if that is worth telling."""
        elapsed_s = time.monotonic() - self._begun_s
        left_s = elapsed_s / done * (self._files - done)
        if elapsed_s < 1 or left_s < 10:
            return ""
        return f", {left_s:.0f} s left" if left_s < 120 else f", {left_s / 60:.0f} min left"

    def text(self) -> str:
        """All in one line."""
        states = self._states
        would = "would be imported" if self._dry_run else "imported"
        files = [f"{states['imported']} of {self._files} files {would}"]
        files += [f"{states['known']} known"] if states["known"] else []
        files += [f"{states['refused']} refused"] if states["refused"] else []
        rows = _counted((count, words) for words, count in self._counts.items())
        return ", ".join(files) + (f": {rows}" if rows else "")


def _counted(counts: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{count} {words}" for count, words in counts)
