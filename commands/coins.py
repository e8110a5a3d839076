"""`coins`: lists, enables, disables, exports and imports the stored markets."""

import argparse
import asyncio
import difflib
import io
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from commands.coins_csv import export_csv, import_csv, open_csv, write_whole
from commands.composition import open_database
from commands.errors import CoinsError
from commands.runtime import cancelled_by
from commands.terminal import say, write_data
from config import Settings
from database import Database
from market.markets import Exchange
from texts.printable import escaped, unescaped
from timing import clock

_MOST_SIMILAR: Final = 3
_LATEST_MS: Final = 253_402_300_800_000  # the year 10000
_SIMILAR: Final = 0.7  # of all letters, from 0 to 1


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Runs the action and prints its result. Raises CoinsError, if possible before stores start."""
    return await cancelled_by(stop, _run(settings, arguments))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    act = await prepare(arguments)
    async with open_database(settings) as database:
        text = await act(database)
    if arguments.action == "export" and arguments.file == "-":
        write_data(f"{text}\n")
    else:
        say(text)
    return 0


async def prepare(arguments: argparse.Namespace) -> Callable[[Database], Awaitable[str]]:
    """Checks the arguments; returns the function that applies `coins ACTION` to a database and
    returns the text to print. Raises CoinsError for malformed names and unreadable files."""
    match arguments.action:
        case "enable" | "disable":
            check_names(arguments.market)
            keys = [as_stored(key) for key in arguments.market]
            return partial(switch, keys=keys, enabled=arguments.action == "enable")
        case "export":
            return partial(_export, file=arguments.file)
        case "import":
            source = await asyncio.to_thread(open_csv, arguments.file)
            return partial(_import, source=source)
        case _:
            return partial(list_coins, exchange=arguments.exchange)


def check_names(keys: Iterable[str]) -> None:
    """Raises CoinsError for keys that are not of the form `binance:BTCUSDT`."""
    wrong = [key for key in keys if ":" not in key or key.partition(":")[0] not in set(Exchange)]
    if wrong:
        raise CoinsError(
            f"{', '.join(wrong)}: a market is named exchange:SYMBOL, "
            f"with an exchange of {', '.join(Exchange)}"
        )


def as_stored(key: str) -> str:
    """A market's key from the form in which `coins list` shows it. Raises CoinsError."""
    try:
        return unescaped(key)
    except ValueError as error:
        raise CoinsError(f"{key}: {error}") from None


async def list_coins(database: Database, exchange: str | None) -> str:
    """A table as text: market, state, 24h turnover, when the exchange last listed it, when it was
    launched, and since when the symbol is this contract, if an earlier one is known."""
    records = await database.coin_records.list_coins(Exchange(exchange) if exchange else None)
    lines = [
        f"{'market':<32} {'state':<10} {'24h turnover':>16}  {'last seen':<20}"
        f"  {'launched':<10}  since"
    ]
    for record in records:
        state = "disabled" if not record.enabled else "active" if record.active else "delisted"
        turnover = "-" if record.turnover_24h is None else f"{record.turnover_24h:,.0f}"
        seen = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.last_seen_ms / 1000))
        life = f"{_day(record.market.launched_ms):<10}  {_day(record.market.since_ms)}"
        key = escaped(record.market.key)
        lines.append(f"{key:<32} {state:<10} {turnover:>16}  {seen} UTC  {life}")
    active = sum(record.active and record.enabled for record in records)
    lines.append(f"{len(records)} markets, {active} of them collected")
    return "\n".join(lines)


def _day(moment_ms: int) -> str:
    """The day of a moment; `-` if it is unknown or no date."""
    if not 0 < moment_ms < _LATEST_MS:
        return "-"
    return time.strftime("%Y-%m-%d", time.gmtime(moment_ms / 1000))


async def switch(database: Database, keys: Sequence[str], *, enabled: bool) -> str:
    """Enables or disables markets such as `binance:BTCUSDT`, all or none. Raises CoinsError."""
    unknown = await database.coin_records.set_enabled(keys, enabled)
    if unknown:
        known = [record.market.key for record in await database.coin_records.list_coins()]
        similar = [name for key in unknown for name in similar_names(key, known)]
        raise CoinsError(
            f"no such market: {', '.join(unknown)}; "
            + (f"similar: {', '.join(dict.fromkeys(similar))}; " if similar else "")
            + "`coins list` shows them"
        )
    return f"{len(set(keys))} {'enabled' if enabled else 'disabled'}"


def similar_names(key: str, known: Iterable[str]) -> list[str]:
    """The known markets of the same exchange whose symbols are most like that of `key`."""
    exchange, _, symbol = key.partition(":")
    prefix = f"{exchange}:"
    symbols = {name.removeprefix(prefix): name for name in known if name.startswith(prefix)}
    found = difflib.get_close_matches(symbol.upper(), symbols, _MOST_SIMILAR, _SIMILAR)
    return [symbols[name] for name in found]


async def _export(database: Database, file: str) -> str:
    text = io.StringIO()
    count = await export_csv(database, text)
    if file == "-":
        return text.getvalue().rstrip("\n")
    await asyncio.to_thread(write_whole, Path(file), text.getvalue())
    return f"{count} markets written to {file}"


async def _import(database: Database, source: TextIO) -> str:
    rows, new = await import_csv(database, source, now_ms=clock.now_ms())
    return f"{rows} markets read, {new} of them new"
