"""Export and import of the stored markets as CSV; an import changes all rows or none."""

import contextlib
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from commands.coins_row import (
    COLUMNS,
    REQUIRED,
    is_number_column,
    read_row,
    write_flag,
    write_name,
    write_number,
)
from commands.errors import CoinsError, reason_of
from database import CoinRecord, Database
from texts.printable import escaped, unescaped

_MOST_MISTAKES: Final = 20


async def export_csv(database: Database, target: TextIO) -> int:
    """Writes every market as `write_records` does. Returns the row count."""
    records = await database.coin_records.list_coins()
    write_records(records, target)
    return len(records)


def write_records(records: Sequence[CoinRecord], target: TextIO) -> None:
    """Writes markets as CSV, their metadata in columns such as `4h.hurst`.

    Every cell is printable and no formula; `read_records` reads back exactly the same.
    """
    numbers = sorted(
        {(tf, name) for r in records for tf, known in r.metadata.items() for name in known.values},
        key=lambda column: (column[0].interval_ms, column[1]),
    )
    timeframes = sorted({tf for tf, _ in numbers}, key=lambda tf: tf.interval_ms)
    writer = csv.writer(target, lineterminator="\n")
    stamps = [f"{timeframe}.computed_at_ms" for timeframe in timeframes]
    writer.writerow([*COLUMNS, *(f"{tf}.{escaped(name, ';')}" for tf, name in numbers), *stamps])
    for record in records:
        market, known = record.market, record.metadata
        writer.writerow(
            [
                *(market.exchange, write_name(market.symbol)),
                *(write_name(market.base), write_name(market.quote), market.launched_ms),
                *(
                    write_flag(record.active),
                    write_flag(record.enabled),
                    write_number(record.turnover_24h),
                ),
                *(record.first_seen_ms, record.last_seen_ms),
                write_name(market.native),
                write_number(market.contract_size),
                *(
                    write_number(known[tf].values.get(n)) if tf in known else ""
                    for tf, n in numbers
                ),
                *(known[tf].computed_at_ms if tf in known else "" for tf in timeframes),
            ]
        )


async def import_csv(database: Database, source: TextIO, *, now_ms: int) -> tuple[int, int]:
    """Stores markets from CSV, all or none; returns the number of rows and of new markets.

    The columns exchange and symbol are required. An absent column or empty field keeps the stored
    value; a new market needs base and quote. Raises CoinsError, with line numbers.
    """
    known = {record.market.key: record for record in await database.coin_records.list_coins()}
    records = read_records(source, known, now_ms=now_ms)
    return len(records), await database.coin_records.import_coins(records)


def read_records(
    source: TextIO, known: Mapping[str, CoinRecord], *, now_ms: int
) -> list[CoinRecord]:
    """The markets of a CSV, merged into the known ones. Raises CoinsError, with line numbers."""
    (_, header), *rows = _read_rows(source)
    header = [_column(name) for name in header]
    _check_header(header)
    records: dict[str, CoinRecord] = {}
    mistakes: list[str] = []
    for line, row in rows:
        try:
            if len(row) != len(header):
                raise CoinsError(f"{len(row)} values for {len(header)} columns")
            record = read_row(dict(zip(header, row, strict=True)), known, now_ms)
            if record.market.key in records:
                raise CoinsError(f"{record.market.key} appears twice")
            records[record.market.key] = record
        except CoinsError as error:
            mistakes.append(f"line {line}: {error}")
    if len(mistakes) > _MOST_MISTAKES:
        mistakes[_MOST_MISTAKES:] = [f"and {len(mistakes) - _MOST_MISTAKES} more lines"]
    if mistakes:
        raise CoinsError("\n".join(mistakes))
    return list(records.values())


def _column(name: str) -> str:
    try:
        return unescaped(name)
    except ValueError as error:
        raise CoinsError(f"line 1: the column {name}: {error}") from None


def _read_rows(source: TextIO) -> list[tuple[int, list[str]]]:
    """The non-empty rows, each with the number of its first line; at least a header."""
    reader = csv.reader(source, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            if row or line == 1:
                rows.append((line, row))
            line = reader.line_num + 1  # a quoted value may hold line breaks
    except csv.Error as error:
        raise CoinsError(f"line {line}: malformed CSV: {error}") from None
    return rows or [(1, [])]


def _check_header(header: Sequence[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS and not is_number_column(name)]
    absent = [name for name in REQUIRED if name not in header]
    if absent or unknown or len(set(header)) < len(header):
        raise CoinsError(
            f"line 1: the columns are {', '.join(COLUMNS)} and numbers such as 4h.hurst, each "
            f"once; {', '.join(REQUIRED)} are needed"
            + (f"; unknown columns: {', '.join(unknown)}" if unknown else "")
        )


def write_whole(file: Path, text: str) -> None:
    """Writes the whole text or nothing: a full disk keeps the older file. Raises CoinsError."""
    try:
        if file.exists() and not file.is_file():  # a device or pipe must not be replaced
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
        raise CoinsError(f"{file} cannot be written: {reason_of(error)}") from None


def open_csv(name: str) -> TextIO:
    """Opens the CSV file to import. Raises CoinsError."""
    try:
        # Read whole, so that an unreadable byte late in the file is found before a store starts.
        return io.StringIO(Path(name).read_text(encoding="utf-8-sig"), newline="")
    except (OSError, UnicodeDecodeError) as error:
        raise CoinsError(f"{name} cannot be read: {reason_of(error)}") from None
