"""`export`: writes the record into a folder, as a lake of Parquet files, CSV, or for freqtrade."""

import argparse
import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from api.moments import read_moment
from commands.composition import open_database
from commands.errors import EXIT_COMPLETE, EXIT_HELD, CommandError
from commands.runtime import cancelled_by
from commands.terminal import say_or_log
from config import Settings
from database import Database
from history.lake.errors import ExportError, FolderInUse
from history.lake.exporting import export
from history.lake.freqtrade import Pair
from history.lake.plan import resolve_symbols
from history.lake.wanted import KINDS, Wanted
from history.lake.writing import PyarrowMissing, check_packages
from history.selection import END_MS
from market.markets import Exchange
from market.timeframes import Timeframe
from stores.cold.history.series import Kind
from timing.clock import now_ms, utc_text

_EXIT_CONFIG: Final = 78
_OF_FREQTRADE: Final[tuple[Kind, ...]] = ("candles", "funding")


class ExportFailed(CommandError):
    """An export that cannot be made as it was asked for, or could not be ended."""


class ExportHeld(CommandError):
    exit_code = EXIT_HELD


class ExportLacks(CommandError):
    exit_code = _EXIT_CONFIG


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Exports; returns 0 once all files are there, 130 when stopped. Raises ExportFailed (exit code
    1), ExportHeld (75), ExportLacks (78), DatabaseUnavailable."""
    try:
        check_packages(arguments.format)
        wanted = read_wanted(arguments)
        return await cancelled_by(stop, _export(settings, wanted, arguments))
    except PyarrowMissing as error:
        raise ExportLacks(str(error)) from error
    except FolderInUse as error:
        raise ExportHeld(str(error)) from error
    except ExportError as error:
        raise ExportFailed(str(error)) from error


def read_wanted(arguments: argparse.Namespace) -> Wanted:
    """What the arguments ask for, but for its symbols. Raises ExportError."""
    from_ms, to_ms = _moment("--from", arguments.begin, 0), _moment("--to", arguments.end, END_MS)
    if from_ms >= to_ms:
        raise ExportError(f"--to {arguments.end} must be after --from {arguments.begin}")
    return Wanted(
        arguments.format,
        tuple(Exchange(name) for name in arguments.exchange or Exchange),
        None,
        tuple(Timeframe(name) for name in arguments.timeframe or Timeframe),
        _kinds(arguments),
        from_ms,
        to_ms,
    )


def _moment(option: str, text: str | None, default: int) -> int:
    try:
        return default if text is None else read_moment(text)
    except ValueError as error:
        raise ExportError(f"{option} {text}: {error}") from error


def _kinds(arguments: argparse.Namespace) -> tuple[Kind, ...]:
    allowed = _OF_FREQTRADE if arguments.format == "freqtrade" else KINDS
    if arguments.what is None:
        return allowed
    asked = [name.strip() for name in arguments.what.split(",")]
    kinds = tuple(kind for kind in allowed if kind in asked)
    if unknown := [name for name in asked if name not in allowed]:
        raise ExportError(
            f"--what {','.join(unknown)}: must be some of {','.join(allowed)}"
            f" with --format {arguments.format}"
        )
    return kinds


async def _export(settings: Settings, wanted: Wanted, arguments: argparse.Namespace) -> int:
    begun_s, as_of_ms = time.monotonic(), now_ms()
    async with open_database(settings) as database:
        tables = database.history_reads
        if arguments.symbol:
            async with tables.snapshot() as snapshot:
                symbols = await resolve_symbols(snapshot, arguments.symbol)
            wanted = wanted.of_symbols(symbols)
        done = await export(
            tables,
            Path(arguments.folder),
            wanted,
            as_of_ms,
            pairs=await _pairs(database) if wanted.form == "freqtrade" else {},
            verify=arguments.verify,
            tell=say_or_log,
        )
    seconds = time.monotonic() - begun_s
    say_or_log(f"export complete as of {utc_text(as_of_ms)}: {done.text()}, {seconds:.1f} s")
    return EXIT_COMPLETE


async def _pairs(database: Database) -> Mapping[tuple[str, str], Pair]:
    """The known markets, those that left included."""
    records = await database.coin_records.list_coins()
    return {
        (record.market.exchange, record.market.symbol): Pair(
            record.market.base, record.market.quote
        )
        for record in records
    }
