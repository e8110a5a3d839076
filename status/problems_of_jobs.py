"""Problems of documents and of the jobs that make them: old, lost, stale, failing."""

from collections.abc import Iterator, Sequence
from typing import Final

from config import Settings
from job_queue.records import JobRecord
from status.problem import Problem, ProblemKind, Severity
from status.readiness import failed_runs
from status.runs import describe_run
from status.snapshot import Snapshot

_MOST_STALE: Final = 0.01  # of a document's markets
_MOST_STALE_CRITICAL: Final = 0.1
_FEW: Final = 3


def document_problems(settings: Settings, snapshot: Snapshot, now_ms: int) -> Iterator[Problem]:
    for name in snapshot.store.lost:
        yield Problem(
            ProblemKind.DOCUMENT_LOST,
            name,
            Severity.CRITICAL,
            f"the hot store has lost cache:{name}: it was evicted or deleted",
            "Set its maxmemory-policy to noeviction; the next run makes the document again, and"
            " processes that have read it serve their copy until then.",
        )
    yield from _stale(snapshot)


def _stale(snapshot: Snapshot) -> Iterator[Problem]:
    told, worst = [], 0.0
    for name, meta in snapshot.store.metas.items():
        if meta is None or meta.counts is None or not meta.counts.markets:
            continue
        stale, markets = meta.counts.stale, meta.counts.markets
        if stale >= max(_FEW, _MOST_STALE * markets):
            told.append(f"{name} {stale} of {markets}")
            worst = max(worst, stale / markets)
    if told:
        yield Problem(
            ProblemKind.MARKETS_STALE,
            "documents",
            Severity.CRITICAL if worst > _MOST_STALE_CRITICAL else Severity.WARNING,
            f"markets whose rows are carried over from an earlier run: {', '.join(told)} (limit"
            f" {_FEW} and {_MOST_STALE:.0%})",
            "See which exchange failed (GET /jobs) and why; `stale_since` in a document says since"
            " when each market is not fetched.",
        )


def job_problems(settings: Settings, snapshot: Snapshot) -> Iterator[Problem]:
    jobs: Sequence[JobRecord] = snapshot.store.jobs
    for job in failed_runs(settings.exchanges, jobs, settings.timeframes):
        assert job.last is not None  # noqa: S101 - failed_runs has only those that ended
        yield Problem(
            ProblemKind.JOB_FAILING,
            job.id,
            Severity.WARNING,
            describe_run(job.id, job.last),
            "Read the error; the log of the worker has more of it, and the job is tried again with"
            " the next request.",
            job.last.finished_at_ms,
        )
