"""Mistakes in workers that are seen while a process starts: they end it, a line for each."""

import contextlib
from collections.abc import Iterator

from config import SettingsError
from workers.definition import WrongWorkers


@contextlib.contextmanager
def wrong_workers_as_lines() -> Iterator[None]:
    """Within the block WrongWorkers, alone or from a task group, becomes SettingsError, and a group
    of those one SettingsError."""
    try:
        yield
    except (WrongWorkers, BaseExceptionGroup) as error:
        lines = list(_lines(error))
        if not lines:
            raise
        raise SettingsError(lines) from None


def _lines(error: BaseException) -> Iterator[str]:
    if isinstance(error, WrongWorkers | SettingsError):
        yield from error.lines
    elif isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _lines(part)
