"""Rows of a Parquet file of an export, as a process of its own (parquet_child.py) reads them."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from threading import Timer
from typing import IO, Any, Final

import numpy as np
import orjson

from history.archive.errors import ArchiveError
from history.exported.files import ExportedFile
from history.exported.pieces import AT_ONCE, ExportedRows, columns_of

_HOME: Final = Path(__file__).resolve().parents[2]
_CHILD: Final = "history.exported.parquet_child"
# What a Python process needs of the environment; addresses of stores are not among it.
_ENVIRONMENT: Final = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "TZ")
_MOST_HEAD: Final = 4096
_PIECE_S: Final = 60.0


def parquet_rows(file: ExportedFile) -> Generator[ExportedRows]:
    """The rows of the file. Raises ArchiveError, also in the midst of it."""
    told = (file.kind, file.exchange, file.timeframe or "")
    command = [sys.executable, "-m", _CHILD, str(file.path.absolute()), *told]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    width = len(columns_of(file.kind)) - 2
    with subprocess.Popen(  # noqa: S603 - our own program
        command,
        cwd=_HOME,
        env=environment | {"OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            while (piece := _piece(process, process.stdout, width)) is not None:
                yield piece
        finally:
            process.kill()


def _piece(
    process: "subprocess.Popen[bytes]", output: IO[bytes], width: int
) -> ExportedRows | None:
    """The next piece, None after the last one."""
    timer = Timer(_PIECE_S, process.kill)
    timer.start()
    try:
        head = _head(output.readline(_MOST_HEAD))
        if "rows" not in head:
            return None
        count = int(head["rows"])
        if not 0 < count <= AT_ONCE or head["width"] != width:
            raise ArchiveError("it is no whole Parquet file of an export")
        times, known_at = np.empty(count, np.int64), np.empty(count, np.int64)
        values = np.empty((count, width))
        for numbers in (times, values, known_at):
            content = output.read(numbers.nbytes)
            if len(content) != numbers.nbytes:
                raise ArchiveError("it is no whole Parquet file of an export")
            numbers[...] = np.frombuffer(content, numbers.dtype).reshape(numbers.shape)
        return ExportedRows(head["symbol"], times, values, known_at)
    finally:
        timer.cancel()


def _head(line: bytes) -> dict[str, Any]:
    try:
        head: dict[str, Any] = orjson.loads(line)
    except ValueError:  # the process has ended
        raise ArchiveError("it is no whole Parquet file of an export") from None
    if "refused" in head:
        raise ArchiveError(head["refused"])
    if "damaged" in head:
        raise ArchiveError(f"it is no whole Parquet file of an export ({head['damaged']})")
    return head
