"""Which problems there are, judged from what was found; nothing here asks anybody."""

from collections.abc import Iterator
from dataclasses import replace

from config import Settings
from status.found import Found
from status.problem import Problem, worst_first
from status.problems_of_documents import document_problems
from status.problems_of_exchanges import exchange_problems
from status.problems_of_jobs import job_problems, schedule_problems
from status.problems_of_providers import provider_problems
from status.problems_of_stores import store_problems
from status.problems_of_streams import collector_problems, stream_problems


def problems_of(settings: Settings, found: Found, now_ms: int) -> tuple[Problem, ...]:
    """All that is wrong at `now_ms`, the worst first; since when, by the record of who watches
    where nothing else says so. What a store that is away would tell is no
    problem beside that it is away."""
    by_id = {each.id: each for each in _all(settings, found, now_ms)}
    seen = found.snapshot.seen
    dated = (
        each if each.since_ms is not None else replace(each, since_ms=seen.get(each.id))
        for each in by_id.values()
    )
    return tuple(sorted(dated, key=worst_first))


def _all(settings: Settings, found: Found, now_ms: int) -> Iterator[Problem]:
    yield from store_problems(settings, found, now_ms)
    yield from exchange_problems(settings, found, now_ms)
    yield from stream_problems(settings, found, now_ms)
    yield from collector_problems(found)
    yield from document_problems(settings, found, now_ms)
    yield from job_problems(settings, found)
    yield from schedule_problems(settings, found, now_ms)
    yield from provider_problems(found, now_ms)
