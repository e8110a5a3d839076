"""The errors that end a command with lines for its user, and the exit codes."""

from typing import Final

# sysexits.h: EX_UNAVAILABLE, EX_TEMPFAIL.
EXIT_COMPLETE: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNAVAILABLE: Final = 69
EXIT_HELD: Final = 75
EXIT_STOPPED: Final = 130
EXIT_BROKEN_PIPE: Final = 141  # as of a program that SIGPIPE ended


def reason_of(error: Exception) -> str:
    """What went wrong, without the errno and the path: the line that quotes it names the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class CommandError(Exception):
    """The command cannot do what was asked; the message is what the user reads."""

    exit_code = EXIT_FAILED


class CannotStart(CommandError):
    """An address or a folder that the command needs cannot be used."""

    exit_code = EXIT_UNAVAILABLE


class CoinsError(CommandError):
    """A `coins` command was refused and changed nothing; one line for each mistake."""


class DemoFailed(CommandError):
    """A step of the demo failed; the message names it, with the process's last output."""
