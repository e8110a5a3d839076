"""Tables as text or files: an aligned table, CSV, a JSON object for each row, Parquet."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from arro3.io import write_csv, write_json, write_ndjson, write_parquet

from perpcache_client.errors import InvalidRequest
from perpcache_client.table import Table

FORMATS: Final = ("table", "csv", "json", "ndjson", "parquet")
_TIMES: Final = ("open_time", "funding_time")


def write(table: Table, form: str | None, file: str | None) -> None:
    """To the file, all or nothing, or to standard output. Raises InvalidRequest and OSError."""
    if file is None:
        form = form or ("table" if sys.stdout.isatty() else "csv")
        if form == "parquet":
            raise InvalidRequest("parquet goes into a file: name it with -o")
        sys.stdout.buffer.write(_content(table, form))
        return
    ending = Path(file).suffix.removeprefix(".").lower()
    form = form or (ending if ending in FORMATS else None)
    if form is None:
        raise InvalidRequest(f"the format of {file} is not clear: end it in .csv, or give --format")
    _replace(Path(file), _content(table, form))


def _content(table: Table, form: str) -> bytes:
    if form == "table":
        return "".join(f"{line}\n" for line in _lines(table)).encode()
    file = BytesIO()
    if form == "csv":
        write_csv(table, file)
    elif form == "json":
        write_json(table, file)
    elif form == "ndjson":
        write_ndjson(table, file)
    else:
        write_parquet(table, file, compression="zstd(3)")
    return file.getvalue()


def _lines(table: Table) -> Iterator[str]:
    """Names and rows in columns of one width each; numbers to the right."""
    names = table.columns
    cells = [
        names,
        *([_cell(*each) for each in zip(names, row, strict=True)] for row in table.rows()),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(_aligned(line, widths)).rstrip()


def _aligned(line: Iterable[str], widths: Iterable[int]) -> Iterator[str]:
    for place, (text, width) in enumerate(zip(line, widths, strict=True)):
        yield text.ljust(width) if place < 3 else text.rjust(width)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in _TIMES:
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _replace(file: Path, content: bytes) -> None:
    """Readers of the file find what was there before, or all of this."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as draft:
            draft.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
