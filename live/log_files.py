"""Loggers of components, and their files: <component>_<level>.log in LOG_DIR, rotated by size."""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Final

from config import LiveSettings, load_live_settings
from logging_setup import FieldsLine, cleaned_lines

if sys.platform != "win32":  # there, one process alone should write a LOG_DIR
    import fcntl

LARGEST_BYTES: Final = 10_000_000
_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
_ROTATED: Final = re.compile(
    r"[\w.-]+_(?:debug|info|warning|error)\.[0-9]{8}T[0-9]{6}[0-9]{6}Z\.log", re.ASCII
)
_WRITTEN: Final = re.compile(r"[\w.-]+_(?:debug|info|warning|error)\.log", re.ASCII)
_UNFIT: Final = re.compile(r"[^\w.-]+", re.ASCII)
_ROOT_NAME: Final = "perpcache.live"
_COMPLAIN_EVERY_S: Final = 60.0


class ComponentLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger of the standard library that takes fields as well:
    `logger.info("connected", symbols=2)`, beside `logger.info("connected to %s", name)`."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        given = {name: kwargs.pop(name) for name in tuple(kwargs) if name not in _OF_LOGGING}
        if given:
            msg, args = FieldsLine(str(msg) % args if args else str(msg), given), ()
        with contextlib.suppress(Exception):  # of a user's own handler: no line is worth a fault
            self.logger.log(level, msg, *args, **kwargs)


def component_logger(logger: object, otherwise: ComponentLogger) -> ComponentLogger:
    """The logger, if it is one of the standard library, as one that takes fields; else the other
    one."""
    if isinstance(logger, ComponentLogger):
        return logger
    if isinstance(logger, logging.Logger):
        return ComponentLogger(logger, {})
    return otherwise


_OF_LOGGING: Final = ("exc_info", "stack_info", "stacklevel", "extra")


def get_logger(
    name: str,
    verbose: bool = False,
    *,
    family: str | None = None,
    settings: LiveSettings | None = None,
) -> ComponentLogger:
    """The logger of a component.

    Lines from LOG_LEVEL on go to the files of LOG_DIR, if it is set: `<family>_debug.log`,
    `_info.log`, `_warning.log` and `_error.log`, each with its level and those above; the family is
    the name if None. On the console (the handlers of the program's root logger, or stderr) appear
    warnings and errors, and with `verbose` all lines from LOG_LEVEL on. The settings are read anew
    with each call. Raises SettingsError, and OSError if LOG_DIR cannot be made.
    """
    settings = settings or load_live_settings()
    family = _UNFIT.sub("_", family or name)[:100] or "component"
    files = logging.getLogger(f"{_ROOT_NAME}.{family}")
    files.propagate = False
    _set_handlers(files, list(_files(family, settings)))
    logger = files.getChild(_UNFIT.sub("_", name))
    logger.setLevel(settings.log_level)
    _set_handlers(logger, [_Console(verbose)])
    return ComponentLogger(logger, {})


def _files(family: str, settings: LiveSettings) -> Iterator["LevelFile"]:
    folder = settings.log_dir
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    most = settings.log_max_files if settings.log_cleanup else None
    for level in _LEVELS:
        if level >= logging.getLevelNamesMapping()[settings.log_level]:
            name = logging.getLevelName(level).lower()
            yield LevelFile(folder.resolve() / f"{family}_{name}.log", level, most)


def _set_handlers(logger: logging.Logger, handlers: Sequence[logging.Handler]) -> None:
    """Replaces the handlers; files that are written already stay open."""
    before = {handler for handler in logger.handlers if isinstance(handler, LevelFile)}
    kept = {handler.identity: handler for handler in before}
    logger.handlers[:] = [
        kept.get(handler.identity, handler) if isinstance(handler, LevelFile) else handler
        for handler in handlers
    ]
    for handler in before - set(logger.handlers):
        handler.close()


class LevelFile(logging.Handler):
    """Appends lines to a file; a full one is renamed, and too many renamed ones are removed.

    Several processes may write the same file: each line is one write at the end, and who finds
    the file renamed by another opens the new one. A disk that is full loses lines, not the program.
    """

    def __init__(
        self, file: Path, level: int, most_files: int | None, largest_bytes: int = LARGEST_BYTES
    ) -> None:
        super().__init__(level)
        self.identity = (file, level, most_files)
        self._file = file
        self._most_files = most_files
        self._largest_bytes = largest_bytes
        self._stream: FileIO | None = None
        self._complained_at = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = format_line(record).encode("utf-8", "backslashreplace")
            stream = self._opened()
            if os.fstat(stream.fileno()).st_size >= self._largest_bytes:
                self._rotate()
                stream = self._opened()
            stream.write(line)
        except Exception as error:
            self._complain(error)

    def close(self) -> None:
        self._close_stream()
        super().close()

    def _opened(self) -> FileIO:
        """The stream, opened anew if the file was renamed or removed meanwhile."""
        if self._stream is not None and not self._is_ours(self._stream):
            self._close_stream()
        if self._stream is None:
            self._stream = FileIO(self._file, "a")
        return self._stream

    def _is_ours(self, stream: FileIO) -> bool:
        try:
            return os.path.samestat(os.fstat(stream.fileno()), self._file.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        with _locked(self._file.parent):
            stream = self._stream
            if stream is not None and self._is_ours(stream):
                at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
                self._close_stream()
                self._file.rename(self._file.with_suffix(f".{at}.log"))
                if self._most_files is not None:
                    # The file itself is made anew at once.
                    remove_old(self._file.parent, self._most_files - 1)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAIN_EVERY_S:
            self._complained_at = now
            with contextlib.suppress(Exception):
                sys.stderr.write(f"log lines are lost: {self._file.name}: {error}\n")


class _Console(logging.Handler):
    """Hands records to the handlers of the root logger; without any, writes lines to stderr."""

    def __init__(self, verbose: bool) -> None:
        super().__init__(logging.NOTSET if verbose else logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        root = logging.getLogger()
        if root.handlers:
            root.callHandlers(record)
        else:
            with contextlib.suppress(Exception):
                sys.stderr.write(format_line(record))


def remove_old(folder: Path, most: int) -> None:
    """Removes the oldest rotated files until `most` log files are left; files of other names and
    those that are written now are never removed."""
    rotated = [file for file in folder.iterdir() if _ROTATED.fullmatch(file.name)]
    written = sum(1 for file in folder.iterdir() if _WRITTEN.fullmatch(file.name))
    rotated.sort(key=lambda file: file.name.rsplit(".", 2)[1])
    surplus = len(rotated) + written - most
    for file in rotated[: max(0, surplus)]:
        file.unlink(missing_ok=True)


def format_line(record: logging.LogRecord) -> str:
    """One line, or more with a traceback: 2026-11-29T12:00:00.123Z INFO okx_collector connected."""
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    component = record.name.rpartition(".")[2]
    message = cleaned_lines(record.getMessage()).replace("\n", "\\n")
    line = f"{at[:-6]}Z {record.levelname} {component} {message}\n"
    if record.exc_info:
        trace = logging.Formatter().formatException(record.exc_info)
        line += cleaned_lines(trace) + "\n"
    return line


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time renames and removes files of the folder."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
