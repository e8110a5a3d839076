"""The output of commands: lines on standard output, and a job's phases in plain words."""

import sys
from collections.abc import Mapping
from typing import Final

# A job's phases, as its record names them.
_PHASES: Final[Mapping[str, str]] = {
    "queued": "waiting for its turn",
    "waiting": "waiting for another job",
    "markets": "looking up the markets",
    "fetch": "asking the exchanges",
    "merge": "putting the rows together",
    "publish": "publishing",
}


def say(line: str) -> None:
    """Writes a line to standard output; logs go to standard error."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def plain_phase(phase: str) -> str:
    """A phase of a job in plain words."""
    return _PHASES.get(phase, phase)
