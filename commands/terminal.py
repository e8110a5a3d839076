"""The output of commands: lines on standard output, and a job's phases in plain words."""

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from commands.errors import EXIT_BROKEN_PIPE, CommandError, reason_of
from texts.printable import printable

# A job's phases, as its record names them.
_PHASES: Final[Mapping[str, str]] = {
    "queued": "waiting for its turn",
    "waiting": "waiting for another job",
    "markets": "looking up the markets",
    "fetch": "asking the exchanges",
    "plan": "looking up what is lacking",
    "make": "making longer candles",
    "search": "looking for holes",
    "merge": "putting the rows together",
    "publish": "publishing",
}

# Not structlog's, which `--help` would have to load.
log = logging.getLogger(__name__)


class OutputFailed(CommandError):
    """Standard output takes nothing: its disk is full, for example."""


class OutputClosed(OutputFailed):
    """The reader of standard output has gone (`| head`), who needs no message."""

    exit_code = EXIT_BROKEN_PIPE


def say(lines: str) -> None:
    """Writes lines to standard output, unprintable characters as escapes; logs go to standard
    error. Raises OutputFailed."""
    _write(sys.stdout, printable(lines, keep="\n") + "\n")


def say_or_log(line: str) -> None:
    """As `say`, for services: they go on when nobody takes their output."""
    try:
        say(line)
    except OutputFailed as error:
        log.warning("standard_output_closed: %s", str(error) or "its reader has gone")


def write_data(text: str) -> None:
    """Writes data for programs to standard output: UTF-8, whatever the terminal's encoding is.

    Raises OutputFailed.
    """
    _write(sys.stdout.buffer, text.encode())


def _write(stream: Any, content: str | bytes) -> None:
    try:
        stream.write(content)
        stream.flush()
    except BrokenPipeError:
        drop_output()
        raise OutputClosed from None
    except OSError as error:
        drop_output()
        raise OutputFailed(f"standard output cannot be written: {reason_of(error)}") from None


def drop_output() -> None:
    """Sends what is still written to standard output nowhere: the interpreter would complain about
    its buffer at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def flush_output() -> None:
    """Writes out what is left in standard output's buffer, if it can be written."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()


def accept_any_character() -> None:
    """Lets standard output and error write characters that their encoding lacks, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def plain_phase(phase: str) -> str:
    """A phase of a job in plain words."""
    return _PHASES.get(phase, phase)
