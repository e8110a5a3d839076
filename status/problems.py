"""Which problems there are, judged from what the stores tell; nothing here asks anybody."""

from collections.abc import Iterator

from config import Settings
from status.parts_state import DatabaseFound
from status.problem import Problem, worst_first
from status.problems_of_exchanges import exchange_problems
from status.problems_of_jobs import document_problems, job_problems
from status.problems_of_stores import store_problems
from status.snapshot import Snapshot


def problems_of(
    settings: Settings, snapshot: Snapshot, database: DatabaseFound, now_ms: int
) -> tuple[Problem, ...]:
    """All that is wrong at `now_ms`, the worst first. `snapshot` of the hot store; what a store
    that is away would tell is no problem beside that it is away."""
    found = {each.id: each for each in _all(settings, snapshot, database, now_ms)}
    return tuple(sorted(found.values(), key=worst_first))


def _all(
    settings: Settings, snapshot: Snapshot, database: DatabaseFound, now_ms: int
) -> Iterator[Problem]:
    yield from store_problems(settings, snapshot, database, now_ms)
    yield from exchange_problems(settings, snapshot, database, now_ms)
    yield from document_problems(settings, snapshot, now_ms)
    yield from job_problems(settings, snapshot)
