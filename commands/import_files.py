"""`import`: brings files of Binance's archive, and of exports, into the history."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from commands.composition import open_database
from commands.console import Console
from commands.errors import EXIT_COMPLETE, EXIT_FAILED, CommandError
from commands.import_download import download
from commands.import_totals import Totals
from commands.runtime import cancelled_by
from config import Settings
from history.found_files import FoundFiles, find_files
from history.importing import FileReport, Importer
from timing import clock


class NothingNamed(CommandError):
    """The command does not say what to import."""


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Imports the files and folders that are named, and tells of each file. Returns 1 if anything
    of one could not be imported. Raises NothingNamed, DatabaseUnavailable."""
    if arguments.download == bool(arguments.path):
        raise NothingNamed("name a PATH, or give --download, and not both")
    if arguments.path and (given := [name for name, value in _chosen(arguments) if value]):
        raise NothingNamed(
            f"{' '.join(given)} chooses what --download asks for; of a PATH all files are imported"
        )
    if arguments.download:
        return await cancelled_by(stop, download(settings, arguments))
    return await cancelled_by(stop, _run(settings, arguments))


def _chosen(arguments: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """The options that files which are there already know nothing of, and their values."""
    for name in ("exchange", "symbol", "timeframe", "what"):
        yield f"--{name}", getattr(arguments, name)
    for name in ("from", "to"):
        yield f"--{name}", getattr(arguments, f"{name}_ms") is not None


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
