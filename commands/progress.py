"""The display of a running job's progress: bars on a terminal, plain lines elsewhere."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from commands.console import Console
from commands.terminal import plain_phase
from jobs.context import Progress

# A job of several documents goes through these phases for one after the other. Each has one bar,
# which never goes back.
_OF_EACH_DOCUMENT: Final = frozenset(("merge", "publish"))


class JobProgress(Protocol):
    """Displays the progress of one job."""

    def show(self, progress: Progress) -> None:
        """Displays the current progress; may be called at any rate."""

    def finish(self) -> None:
        """Displays every phase as done; called once, when the job is complete."""


@contextlib.contextmanager
def shown(console: Console, job_id: str) -> Iterator[JobProgress]:
    """Displays a job's progress on `console` while the block lasts."""
    if not console.is_terminal:
        yield _Lines(console, job_id)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        yield _Bars(bars, job_id)


class _Bars:
    """One bar for each phase; the bar of a finished phase is full, whatever was last reported."""

    def __init__(self, bars: Bars, job_id: str) -> None:
        self._bars = bars
        self._job_id = job_id
        self._before = bars.add_task(job_id, total=None)
        self._by_phase: dict[str, TaskID] = {}
        self._phase = ""

    def show(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            if self._phase:
                self._leave()
            else:
                self._bars.remove_task(self._before)
            self._phase = progress.phase
            if self._phase not in self._by_phase:
                words = f"{self._job_id}: {plain_phase(self._phase)}"
                self._by_phase[self._phase] = self._bars.add_task(words, total=None)
        bar = self._task(self._phase)
        total = max(bar.total or 0, progress.total)
        self._bars.update(bar.id, completed=max(bar.completed, progress.done), total=total or None)

    def _leave(self) -> None:
        if not _goes_on(self._phase, self._task(self._phase).total):
            self._fill(self._phase)

    def finish(self) -> None:
        for phase in self._by_phase:
            self._fill(phase)

    def _fill(self, phase: str) -> None:
        bar = self._task(phase)
        total = bar.total or 1
        self._bars.update(bar.id, completed=total, total=total)

    def _task(self, phase: str) -> Task:
        return self._bars.tasks[self._bars.task_ids.index(self._by_phase[phase])]


@dataclass(slots=True)
class _Told:
    """What was told of a phase: the last tenth, and how many tasks it has."""

    tenth: int = -1
    total: int = 0


class _Lines:
    """One line when a phase begins, one for each further tenth of it, and one at its end."""

    def __init__(self, console: Console, job_id: str) -> None:
        self._console = console
        self._job_id = job_id
        self._by_phase: dict[str, _Told] = {}
        self._phase = ""

    def show(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            if self._phase and not _goes_on(self._phase, self._by_phase[self._phase].total):
                self._end(self._phase)
            self._phase = progress.phase
        told = self._by_phase.setdefault(self._phase, _Told())
        told.total = max(told.total, progress.total)
        tenth = 10 * progress.done // told.total if told.total else 0
        if tenth > told.tenth:
            told.tenth = tenth
            self._say(self._phase, progress.done, told.total)

    def finish(self) -> None:
        for phase in self._by_phase:
            self._end(phase)

    def _end(self, phase: str) -> None:
        told = self._by_phase[phase]
        if told.total and told.tenth < 10:
            self._say(phase, told.total, told.total)
            told.tenth = 10

    def _say(self, phase: str, done: int, total: int) -> None:
        counted = f" {done}/{total}" if total else ""
        self._console.say(f"{self._job_id}: {plain_phase(phase)}{counted}")


def _goes_on(phase: str, total: float | None) -> bool:
    """Whether a phase that is left comes again: it counts documents, and others are left to do."""
    return phase in _OF_EACH_DOCUMENT and (total or 0) > 1
