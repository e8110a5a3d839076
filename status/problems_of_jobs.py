"""Problems of jobs and schedules: those that fail, and schedules that nobody fires."""

from collections.abc import Iterator
from typing import Final

from config import Settings
from status.document_limits import spoken
from status.found import Found
from status.problem import Problem, ProblemKind, Severity
from status.readiness import failed_runs
from status.runs import describe_run, told_error
from texts.foreign import foreign_text
from timing.clock import utc_text

_LATE_MS: Final = 60_000  # a schedule that is due for so long fires nowhere
_LONGEST_REASON: Final = 300
_TWICE: Final = 2


def job_problems(settings: Settings, found: Found) -> Iterator[Problem]:
    for job in failed_runs(settings.exchanges, found.snapshot.store.jobs, settings.timeframes):
        if job.last is None:
            continue
        again = job.failures >= _TWICE
        yield Problem(
            ProblemKind.JOB_FAILING,
            job.id,
            Severity.CRITICAL if again else Severity.WARNING,
            f"{job.id} failed" + (f" {job.failures} times in a row" if again else "") + f":"
            f" {describe_run(job.id, job.last)}",
            f"Read the error here and in the worker's log, mend its cause, and ask for {job.id}"
            " again; a schedule does so by itself.",
            job.last.finished_at_ms,
        )


def schedule_problems(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    if found.schedules is None:
        return
    late = []
    for row in found.schedules:
        if not row.enabled:
            continue
        if row.failures:
            times = f"{row.failures} times in a row" if row.failures >= _TWICE else "once"
            error = foreign_text(told_error(row.error) or "no reason is told", _LONGEST_REASON)
            yield Problem(
                ProblemKind.SCHEDULE_FAILING,
                row.name,
                Severity.WARNING,
                f"the schedule {row.name} failed {times}: {error}",
                f"Read the log of its runs (GET /api/workers/{row.name}/runs), mend the cause, and"
                f" try it with POST /api/workers/{row.name}/run-now.",
                row.failing_since_ms,
            )
        if row.next_run_ms is not None and now_ms - row.next_run_ms > _LATE_MS:
            late.append((row.next_run_ms, row.name))
    if late and settings.schedules == "on":
        since_ms, name = min(late)
        yield Problem(
            ProblemKind.SCHEDULE_FAILING,
            "schedules",
            Severity.CRITICAL,
            f"{len(late)} schedules are due and nobody fires them: {name} since"
            f" {utc_text(since_ms)}, {spoken(now_ms - since_ms)} ago (limit"
            f" {spoken(_LATE_MS)})",
            "Start what fires schedules: python main.py serve, worker (without --no-beat) or beat;"
            " if one runs, see its log.",
            since_ms,
        )
