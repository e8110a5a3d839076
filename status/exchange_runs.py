"""What the last runs of jobs tell of an exchange: its last success, failing markets, its clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from job_queue.records import JobRecord, LastRun
from market.markets import Exchange
from status.readiness import told_by
from texts.foreign import foreign_text

_MOST_NAMED: Final = 5
_LONGEST_NAME: Final = 40
_LARGEST_OFFSET_MS: Final = 10**14


@dataclass(frozen=True, slots=True)
class Failing:
    """How many markets a run could not fetch, and the names of some."""

    job_id: str
    finished_at_ms: int
    markets: int
    names: tuple[str, ...]


def last_success_ms(exchange: Exchange, jobs: Sequence[JobRecord]) -> int | None:
    """When the last run that brought something of the exchange ended; None: none is known."""
    return max(
        (run.finished_at_ms for _, run in _asking(jobs) if exchange not in told_by(run, "absent")),
        default=None,
    )


def failing_of(exchange: Exchange, jobs: Sequence[JobRecord]) -> Failing | None:
    """Of the newest run of a collection that asked for data; None if there was none."""
    runs = [(job, run) for job, run in _asking(jobs) if job.kind == "collect"]
    if not runs:
        return None
    job, run = max(runs, key=lambda pair: pair[1].finished_at_ms)
    told = told_by(run, "failing").get(str(exchange))
    found = told if isinstance(told, dict) else {}
    markets, names = found.get("markets"), found.get("names")
    return Failing(
        job.id,
        run.finished_at_ms,
        markets if type(markets) is int and markets >= 0 else 0,
        tuple(
            foreign_text(str(name), _LONGEST_NAME)
            for name in (names if isinstance(names, list) else [])[:_MOST_NAMED]
        ),
    )


def clock_offset_of(exchange: Exchange, jobs: Sequence[JobRecord]) -> tuple[int, int] | None:
    """How far its clock was ahead of the worker's machine (ms) in the newest run that tells, and
    when that run ended (UTC ms)."""
    found = [
        (run.finished_at_ms, offset_ms)
        for _, run in _asking(jobs)
        if type(offset_ms := told_by(run, "clock_offsets_ms").get(str(exchange))) is int
        and abs(offset_ms) < _LARGEST_OFFSET_MS
    ]
    if not found:
        return None
    at_ms, offset_ms = max(found)
    return offset_ms, at_ms


def _asking(jobs: Sequence[JobRecord]) -> Iterator[tuple[JobRecord, LastRun]]:
    """The last runs that completed and asked exchanges for data."""
    for job in jobs:
        if job.produces and job.last is not None and job.last.state == "complete":
            yield job, job.last
