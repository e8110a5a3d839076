"""`import --download`: files of Binance's archive, downloaded and imported one after another."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from commands.composition import open_database
from commands.console import Console
from commands.data_dir import remember_exchanges
from commands.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_UNAVAILABLE, CommandError
from commands.import_totals import Totals
from config import Settings
from database import Database
from history.archive.addresses import archive_addresses
from history.archive.download import Download, Downloads
from history.archive.download_errors import DownloadError, HostAway
from history.archive.download_folder import download_folder
from history.archive.host import ArchiveHost
from history.archive.names import parse_name
from history.archive.wanted import WHATS, ArchiveSeries
from history.importing import Importer
from market.markets import ARCHIVED
from market.timeframes import DAY_MS, Timeframe
from timing import clock

_USUAL_DAYS: Final = 365
_SYMBOL: Final = re.compile(r"[^\W_]{1,40}")


class DownloadFailed(CommandError):
    """Nothing can be downloaded, or not all of it."""

    def __init__(self, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


async def download(settings: Settings, arguments: argparse.Namespace) -> int:
    """Downloads and imports what is asked for, and tells of each file. Returns 1 if a file is left
    out. Raises DownloadFailed, DatabaseUnavailable."""
    if {*arguments.exchange} - {ARCHIVED}:
        others = " ".join(sorted({*arguments.exchange} - {ARCHIVED}))
        raise DownloadFailed(
            f"{others}: only {ARCHIVED.capitalize()} has such an archive; `backfill"
            f" --exchange {others}` asks the exchange itself"
        )
    now_ms = clock.now_ms()
    from_ms, to_ms = _range(arguments, now_ms)
    remember_exchanges(settings)
    try:
        url, listing_url = archive_addresses(settings)
        host = ArchiveHost(url, listing_url, settings.usual_proxy)
        async with open_database(settings) as database, host:
            series = await _series(settings, arguments, database)
            with download_folder(settings.data_dir) as folder:
                run = _Run(host, database, folder, arguments)
                return await run.run(series, from_ms, to_ms)
    except HostAway as error:
        raise DownloadFailed(f"{url}: {error}", EXIT_UNAVAILABLE) from None
    except DownloadError as error:
        raise DownloadFailed(str(error)) from None


def _range(arguments: argparse.Namespace, now_ms: int) -> tuple[int, int]:
    to_ms = now_ms if arguments.to_ms is None else min(now_ms, arguments.to_ms)
    from_ms = arguments.from_ms
    if from_ms is None:
        from_ms = max(0, to_ms - to_ms % DAY_MS - _USUAL_DAYS * DAY_MS)
    if from_ms >= to_ms:
        raise DownloadFailed("--from must be before --to, and in the past")
    return from_ms, to_ms


async def _series(
    settings: Settings, arguments: argparse.Namespace, database: Database
) -> list[ArchiveSeries]:
    """What is wanted, market by market: candles, the finest first, before the open interest whose
    labels their prices explain."""
    symbols = [symbol.upper() for symbol in arguments.symbol]
    for symbol in symbols:
        if not _SYMBOL.fullmatch(symbol):
            raise DownloadFailed(f"--symbol {symbol[:40]!a} is no name of a perpetual contract")
    if not symbols:
        markets = await database.get_all_unique_coins(
            exchanges=[ARCHIVED],
            quote=settings.quote,
            markets_limit=settings.markets_limit,
        )
        symbols = [market.symbol for market in markets]
    if not symbols:
        raise DownloadFailed("no market of binance is known yet: name some with --symbol")
    named = {Timeframe(name) for name in arguments.timeframe or settings.timeframes}
    whats = arguments.what or WHATS
    found: list[ArchiveSeries] = []
    for symbol in dict.fromkeys(symbols):
        if "candles" in whats:
            found += [ArchiveSeries("candles", symbol, one) for one in Timeframe if one in named]
        found += [
            ArchiveSeries(what, symbol) for what in WHATS if what in whats and what != "candles"
        ]
    return found


class _Run:
    """One download, as it is told on the console."""

    def __init__(
        self, host: ArchiveHost, database: Database, folder: Path, arguments: argparse.Namespace
    ) -> None:
        self._host = host
        self._console = Console()
        self._dry_run: bool = arguments.dry_run
        self._totals = Totals(0)
        self._told: list[str] = []  # names of files
        self._importer = Importer(
            database, clock.now_ms, require_checksum=True, again=arguments.again
        )
        self._download = Download(
            host, database, folder, self._take, now_ms=clock.now_ms(), dry_run=arguments.dry_run,
            again=arguments.again, tell=lambda done: self._totals.expect(done.planned),
        )  # fmt: skip

    async def run(self, series: Sequence[ArchiveSeries], from_ms: int, to_ms: int) -> int:
        done = await self._download.run(series, from_ms, to_ms)
        for line in done.lines(self._told):
            self._console.say(line)
        self._console.say(self._text(done))
        is_whole = self._totals.is_whole and not done.refused
        return EXIT_COMPLETE if is_whole else EXIT_FAILED

    async def _take(self, path: Path, etag: str) -> str | None:
        report = await self._importer.archive_file(path, parse_name(path.name), etag=etag)
        for line in self._totals.lines(report):
            self._console.say(line)
        self._told.append(path.name)
        return report.cause

    def _text(self, done: Downloads) -> str:
        if self._dry_run:
            return (
                f"{done.planned} files of {done.planned_bytes / 1e6:.1f} MB would be downloaded,"
                f" {done.known} are imported already; daily files for what monthly ones lack come"
                " on top"
            )
        traffic = self._host.traffic
        return (
            f"{self._totals.text()}; {done.known} were imported before, {traffic.requests} requests"
            f" ({traffic.repeated} repeated), {traffic.file_bytes / 1e6:.1f} MB"
        )
