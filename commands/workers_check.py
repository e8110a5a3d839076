"""The check of users' workers at start: their mistakes end the start, a line for each."""

import contextlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Final

from commands.errors import CommandError
from config import Settings
from workers.definition import WrongWorkers

_EXIT_CONFIG: Final = 78  # sysexits.h: EX_CONFIG


class WorkersRefused(CommandError):
    """Workers are not as they must be; a line for each mistake, with file and line."""

    exit_code = _EXIT_CONFIG


def check_workers(settings: Settings) -> None:
    """Looks at the workers of users, before anything is started. Raises WorkersRefused."""
    # Imported here: who has no workers needs nothing of them.
    from workers.users_modules import ENTRY_POINTS

    if settings.schedules == "off" or not (settings.workers or entry_points(group=ENTRY_POINTS)):
        return
    from workers.registry import load_registry

    with wrong_workers_as_lines():
        load_registry(settings, ())


@contextlib.contextmanager
def wrong_workers_as_lines() -> Iterator[None]:
    """Within the block WrongWorkers, alone or from a task group, becomes WorkersRefused."""
    try:
        yield
    except (WrongWorkers, BaseExceptionGroup) as error:
        lines = list(_lines(error))
        if not lines:
            raise
        raise WorkersRefused("\n".join(lines)) from None


def _lines(error: BaseException) -> Iterator[str]:
    if isinstance(error, WrongWorkers):
        yield from error.lines
    elif isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _lines(part)
