"""`import`: brings files of Binance's archive, and of exports, into the history."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from commands.composition import open_database
from commands.console import Console
from commands.errors import EXIT_COMPLETE, EXIT_FAILED
from commands.runtime import cancelled_by
from config import Settings
from history.found_files import FoundFiles, find_files
from history.importing import FileReport, Importer
from timing import clock


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Imports the files and folders that are named, and tells of each file. Returns 1 if anything
    of one could not be imported. Raises DatabaseUnavailable."""
    return await cancelled_by(stop, _run(settings, arguments))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    console = Console()
    paths = [Path(path) for path in arguments.path]
    found = await asyncio.to_thread(find_files, paths)
    if not len(found):
        console.say("there is nothing to import")
        return EXIT_FAILED
    async with open_database(settings) as database:
        importer = Importer(
            database,
            clock.now_ms,
            require_checksum=arguments.require_checksum,
            again=arguments.again,
            dry_run=arguments.dry_run,
            beside=found.archive,
        )
        totals = Totals(len(found), dry_run=arguments.dry_run)
        async for report in reports(importer, found):
            for line in totals.lines(report):
                console.say(line)
    console.say(totals.text())
    return EXIT_COMPLETE if totals.is_whole else EXIT_FAILED


async def reports(importer: Importer, found: FoundFiles) -> AsyncIterator[FileReport]:
    """Imports the files one by one."""
    for path, cause in found.unknown:
        unknown = FileReport(str(path))
        unknown.refuse(cause)
        yield unknown
    for name, path in found.archive:
        yield await importer.archive_file(path, name)
    for file in found.exported:
        yield await importer.exported_file(file)


class Totals:
    """Counts of all files, and how far the import is."""

    def __init__(self, files: int, *, dry_run: bool = False) -> None:
        self._files = files
        self._dry_run = dry_run
        self._begun_s = time.monotonic()
        self._counts: dict[str, int] = {}
        self._states = {"imported": 0, "known": 0, "refused": 0}
        self.is_whole = True

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
