"""`coins` on the command line: the cold store's markets listed, switched, as CSV in and out."""

import argparse
import asyncio
import contextlib
import csv
import io
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

from database import CoinMetadata, CoinRecord, Database
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from timing import clock

_TRUE: Final = ("true", "yes", "1")
_FALSE: Final = ("false", "no", "0")
_REQUIRED: Final = ("exchange", "symbol")
_NAMES: Final = ("symbol", "base", "quote")
_MOST_MISTAKES: Final = 20
_COLUMNS: Final = (
    *_REQUIRED,
    *("base", "quote", "launched_ms", "active", "enabled", "turnover_24h"),
    *("first_seen_ms", "last_seen_ms"),
)


async def run_coins(database: Database, arguments: argparse.Namespace) -> str:
    """What `coins ACTION` does; gives the line or table to print. Raises CoinsError."""
    now_ms = clock.now_ms()
    match arguments.action:
        case "enable" | "disable":
            return await switch(database, arguments.market, enabled=arguments.action == "enable")
        case "export":
            text = io.StringIO()
            count = await export_csv(database, text)
            if arguments.file == "-":
                return text.getvalue().rstrip("\n")
            await asyncio.to_thread(_write, Path(arguments.file), text.getvalue())
            return f"{count} markets written to {arguments.file}"
        case "import":
            source = await asyncio.to_thread(open_csv, arguments.file)
            rows, new = await import_csv(database, source, now_ms=now_ms)
            return f"{rows} markets read, {new} of them new"
        case _:
            return await list_coins(database, arguments.exchange)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("list", help="every market and its state")
    show.add_argument("--exchange", choices=list(Exchange), default=None)
    for name, what in (("enable", "collect these again"), ("disable", "do not collect these")):
        action = actions.add_parser(name, help=what)
        action.add_argument("market", nargs="+", help="such as binance:BTCUSDT")
    export = actions.add_parser("export", help="write all markets and their numbers as CSV")
    export.add_argument("file", nargs="?", default="-", help="a path, or - for standard output")
    bring = actions.add_parser("import", help="read markets from CSV, all or none")
    bring.add_argument("file", help="as `export` writes it; absent columns leave what is known")


class CoinsError(Exception):
    """What was asked cannot be done; nothing was changed. One line for each mistake."""


async def list_coins(database: Database, exchange: str | None) -> str:
    """A table for people: market, state, turnover, when it was seen last."""
    records = await database.coin_records.list_coins(Exchange(exchange) if exchange else None)
    lines = [f"{'market':<32} {'state':<10} {'24h turnover':>16}  last seen"]
    for record in records:
        state = "disabled" if not record.enabled else "active" if record.active else "left"
        turnover = "-" if record.turnover_24h is None else f"{record.turnover_24h:,.0f}"
        seen = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.last_seen_ms / 1000))
        lines.append(f"{record.market.key:<32} {state:<10} {turnover:>16}  {seen} UTC")
    active = sum(record.active and record.enabled for record in records)
    lines.append(f"{len(records)} markets, {active} of them collected")
    return "\n".join(lines)


async def switch(database: Database, keys: Sequence[str], *, enabled: bool) -> str:
    """Enables or disables markets such as `binance:BTCUSDT`, all or none. Raises CoinsError."""
    wrong = [key for key in keys if key.partition(":")[0] not in set(Exchange)]
    if wrong:
        raise CoinsError(
            f"{', '.join(wrong)}: a market is named exchange:SYMBOL, "
            f"with an exchange of {', '.join(Exchange)}"
        )
    unknown = await database.coin_records.set_enabled(keys, enabled)
    if unknown:
        raise CoinsError(f"no such market: {', '.join(unknown)}; `coins list` shows them")
    return f"{len(set(keys))} {'enabled' if enabled else 'disabled'}"


async def export_csv(database: Database, target: TextIO) -> int:
    """Writes every market, its metadata in columns such as `4h.hurst`. Gives the row count."""
    records = await database.coin_records.list_coins()
    numbers = sorted(
        {(tf, name) for r in records for tf, known in r.metadata.items() for name in known.values},
        key=lambda column: (column[0].interval_ms, column[1]),
    )
    timeframes = sorted({tf for tf, _ in numbers}, key=lambda tf: tf.interval_ms)
    writer = csv.writer(target, lineterminator="\n")
    stamps = [f"{timeframe}.computed_at_ms" for timeframe in timeframes]
    writer.writerow([*_COLUMNS, *(f"{tf}.{name}" for tf, name in numbers), *stamps])
    for record in records:
        market, known = record.market, record.metadata
        writer.writerow(
            [
                *(market.exchange, market.symbol, market.base, market.quote, market.launched_ms),
                *(_flag(record.active), _flag(record.enabled), _number(record.turnover_24h)),
                *(record.first_seen_ms, record.last_seen_ms),
                *(_number(known[tf].values.get(n)) if tf in known else "" for tf, n in numbers),
                *(known[tf].computed_at_ms if tf in known else "" for tf in timeframes),
            ]
        )
    return len(records)


async def import_csv(database: Database, source: TextIO, *, now_ms: int) -> tuple[int, int]:
    """Reads markets from CSV, all or none; gives how many rows and how many new markets.

    Needs the columns exchange and symbol. A column that is absent, or empty in a row, leaves what
    is known; a market that is new needs base and quote. Raises CoinsError, with line numbers.
    """
    known = {record.market.key: record for record in await database.coin_records.list_coins()}
    (_, header), *rows = _read_rows(source)
    _check_header(header)
    records: dict[str, CoinRecord] = {}
    mistakes: list[str] = []
    for line, row in rows:
        try:
            if len(row) != len(header):
                raise CoinsError(f"{len(row)} values for {len(header)} columns")
            record = _record(dict(zip(header, row, strict=True)), known, now_ms)
            if record.market.key in records:
                raise CoinsError(f"{record.market.key} stands twice")
            records[record.market.key] = record
        except CoinsError as error:
            mistakes.append(f"line {line}: {error}")
    if len(mistakes) > _MOST_MISTAKES:
        mistakes[_MOST_MISTAKES:] = [f"and {len(mistakes) - _MOST_MISTAKES} lines more"]
    if mistakes:
        raise CoinsError("\n".join(mistakes))
    return len(records), await database.coin_records.import_coins(records.values())


def _read_rows(source: TextIO) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line it begins on; at least a header."""
    reader = csv.reader(source, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            if row or line == 1:
                rows.append((line, row))
            line = reader.line_num + 1  # a quoted value may hold line breaks
    except csv.Error as error:
        raise CoinsError(f"line {line}: this is no CSV: {error}") from None
    return rows or [(1, [])]


def _check_header(header: Sequence[str]) -> None:
    unknown = [name for name in header if name not in _COLUMNS and not _is_number(name)]
    absent = [name for name in _REQUIRED if name not in header]
    if absent or unknown or len(set(header)) < len(header):
        raise CoinsError(
            f"line 1: the columns are {', '.join(_COLUMNS)} and numbers such as 4h.hurst, each "
            f"once; {', '.join(_REQUIRED)} are needed"
            + (f"; not known: {', '.join(unknown)}" if unknown else "")
        )


def _is_number(name: str) -> bool:
    timeframe, dot, number = name.partition(".")
    return bool(dot and number) and timeframe in set(Timeframe)


def _record(fields: Mapping[str, str], known: Mapping[str, CoinRecord], now_ms: int) -> CoinRecord:
    given = {name: value.strip() for name, value in fields.items() if value.strip()}
    exchange, symbol = given.get("exchange", ""), given.get("symbol", "")
    if exchange not in set(Exchange) or not symbol:
        raise CoinsError(f"exchange must be one of {', '.join(Exchange)}, symbol not empty")
    for name in _NAMES:
        if not given.get(name, "").isprintable():
            raise CoinsError(f"{name} has characters that no name has: {given[name]!a}")
    record = known.get(f"{exchange}:{symbol}")
    if record is None:
        if "base" not in given or "quote" not in given:
            raise CoinsError(f"{exchange}:{symbol} is new and needs base and quote")
        market = Market(Exchange(exchange), symbol, given["base"], given["quote"])
        record = CoinRecord(market, True, True, None, now_ms, now_ms, {})

    def value(name: str, read: Callable[[str], Any], old: Any) -> Any:
        try:
            return read(given[name]) if name in given else old
        except ValueError as error:
            raise CoinsError(f"{name} must be {error}, not {given[name]!r}") from None

    market = replace(
        record.market,
        base=given.get("base", record.market.base),
        quote=given.get("quote", record.market.quote),
        launched_ms=value("launched_ms", _read_ms, record.market.launched_ms),
    )
    return CoinRecord(
        market,
        active=value("active", _read_flag, record.active),
        enabled=value("enabled", _read_flag, record.enabled),
        turnover_24h=value("turnover_24h", _read_number, record.turnover_24h),
        first_seen_ms=value("first_seen_ms", _read_ms, record.first_seen_ms),
        last_seen_ms=value("last_seen_ms", _read_ms, record.last_seen_ms),
        metadata=_metadata(given, value, record.metadata, now_ms),
    )


def _metadata(
    given: Mapping[str, str],
    value: Callable[[str, Callable[[str], Any], Any], Any],
    known: Mapping[Timeframe, CoinMetadata],
    now_ms: int,
) -> dict[Timeframe, CoinMetadata]:
    """The numbers of the timeframes that the row says something of, upon what is known."""
    found: dict[Timeframe, CoinMetadata] = {}
    for timeframe in Timeframe:
        prefix = f"{timeframe}."
        stamp = f"{prefix}computed_at_ms"
        names = [name for name in given if name.startswith(prefix)]
        if names:
            older = known[timeframe].values if timeframe in known else {}
            numbers = {
                name.removeprefix(prefix): value(name, _read_number, None)
                for name in names
                if name != stamp
            }
            found[timeframe] = CoinMetadata({**older, **numbers}, value(stamp, _read_ms, now_ms))
    return found


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _read_flag(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError("true or false")
    return text.lower() in _TRUE


def _read_ms(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ValueError("a time in UTC milliseconds")
    return int(text)


def _read_number(text: str) -> float:
    try:
        number = float(text.replace("_", "?"))  # Python's own 1_000 is no number elsewhere
    except ValueError:
        raise ValueError("a number") from None
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return number


def _write(file: Path, text: str) -> None:
    """All of it or nothing: a full disk leaves the older file alone."""
    try:
        if file.exists() and not file.is_file():  # a device or a pipe is not to be replaced
            file.write_text(text, encoding="utf-8")
            return
        draft = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
    except (OSError, ValueError) as error:
        raise CoinsError(f"{file} cannot be written: {error}") from None


def open_csv(name: str) -> TextIO:
    """The CSV file to import. Raises CoinsError."""
    try:
        # Read whole, so that a mistake late in the file is met before anything is written.
        return io.StringIO(Path(name).read_text(encoding="utf-8-sig"), newline="")
    except (OSError, UnicodeDecodeError) as error:
        raise CoinsError(f"{name} cannot be read: {error}") from None
