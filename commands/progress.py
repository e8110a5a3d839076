"""The display of a running job's progress: bars on a terminal, plain lines elsewhere."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from commands.console import Console
from commands.terminal import plain_phase
from jobs.context import Progress


class JobProgress(Protocol):
    """Displays the progress of one job."""

    def show(self, progress: Progress) -> None:
        """Displays the current progress; may be called at any rate."""

    def finish(self) -> None:
        """Displays the last phase as done; called once, when the job is complete."""


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
        self._bar = bars.add_task(job_id, total=None)
        self._phase = ""

    def show(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            if self._phase:
                self.finish()
            else:
                self._bars.remove_task(self._bar)
            self._phase = progress.phase
            self._bar = self._bars.add_task(
                f"{self._job_id}: {plain_phase(self._phase)}", total=None
            )
        self._bars.update(self._bar, completed=progress.done, total=progress.total or None)

    def finish(self) -> None:
        bar = self._bars.tasks[self._bars.task_ids.index(self._bar)]
        total = bar.total or 1
        self._bars.update(self._bar, completed=total, total=total)


class _Lines:
    """One line when a phase begins, one for each further tenth of it, and one at its end."""

    def __init__(self, console: Console, job_id: str) -> None:
        self._console = console
        self._job_id = job_id
        self._phase = ""
        self._tenth = -1
        self._total = 0

    def show(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            self.finish()
            self._phase, self._tenth, self._total = progress.phase, -1, 0
        self._total = progress.total
        tenth = 10 * progress.done // progress.total if progress.total else 0
        if tenth != self._tenth:
            self._say(progress.done)
            self._tenth = tenth

    def finish(self) -> None:
        if self._total and self._tenth < 10:
            self._say(self._total)
            self._tenth = 10

    def _say(self, done: int) -> None:
        counted = f" {done}/{self._total}" if self._total else ""
        line = f"{self._job_id}: {plain_phase(self._phase)}{counted}"
        self._console.say(line)
