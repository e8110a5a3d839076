"""The errors that end a command with lines for its user, and the exit codes."""

from typing import Final

# sysexits.h: EX_UNAVAILABLE, EX_TEMPFAIL.
EXIT_COMPLETE: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNAVAILABLE: Final = 69
EXIT_HELD: Final = 75
EXIT_STOPPED: Final = 130


class CommandError(Exception):
    """The command cannot do what was asked; the message is what the user reads."""

    exit_code = EXIT_FAILED


class CannotStart(CommandError):
    """Something around us is missing or taken: an address, a folder."""

    exit_code = EXIT_UNAVAILABLE


class CoinsError(CommandError):
    """What was asked of the markets cannot be done; nothing changed. A line for each mistake."""


class DemoFailed(CommandError):
    """A step did not work; the message says which and what the process printed last."""
