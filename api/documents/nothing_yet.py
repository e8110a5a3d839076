"""The 404 for a document that was never published: what to POST, and how the last run ended."""

from collections.abc import Collection, Sequence
from typing import Final

from api.answers import NO_CACHE, Answer, problem
from documents.names import GLOBAL_FR, OVERVIEW
from job_queue.kinds import ALL, collect_id, producers_of
from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from market.timeframes import Timeframe
from status.runs import LONGEST_ERROR, describe_run
from stores.hot.store import StoreUnavailable

_DISCOVERY: Final = "discovery"


def refresh_request(name: str) -> tuple[str, dict[str, str] | None]:
    """Path and JSON body of the POST that refreshes this document."""
    if name == GLOBAL_FR:
        return "/api/v1/internal/update-fr", None
    if name == OVERVIEW:
        return "/get-market-data", {"timeframe": ALL}
    return "/get-market-data", {"timeframe": name}


async def nothing_yet(queue: JobQueue, name: str, timeframes: Collection[Timeframe]) -> Answer:
    """A 404 with the POSTs to send, or the job that is pending, and how the last run of a job that
    makes this document ended; and how the last search for markets ended, if that failed.

    `timeframes` is the setting TIMEFRAMES.
    """
    try:
        jobs = {job.id: job for job in await queue.list()}
    except StoreUnavailable:
        jobs = {}  # the answer is still 404, without the state of the jobs
    what = "no funding" if name == GLOBAL_FR else "nothing collected"
    makers = producers_of(name, timeframes)
    with_all = collect_id(ALL) in makers[1:]
    known = [jobs[maker] for maker in makers if maker in jobs]
    told = [_next_step(name, known, with_all), *_discovery(jobs.get(_DISCOVERY))]
    return problem(404, f"{what} yet: {'; '.join(told)}", NO_CACHE)


def _next_step(name: str, jobs: Sequence[JobRecord], with_all: bool) -> str:
    """`jobs`: the records of the jobs that make it; `with_all`: whether that of all timeframes is
    one of them."""
    path, body = refresh_request(name)
    post = f"POST {path}" + (f' {{"timeframe":"{body["timeframe"]}"}}' if body else "")
    also = f', {{"timeframe":"{ALL}"}} with all others' if with_all else ""
    ended = [(job.last.finished_at_ms, job.id, job.last) for job in jobs if job.last]
    last = describe_run(*max(ended, key=lambda run: run[0])[1:]) if ended else None
    # The sort is stable: of several that are queued, the document's own job is told.
    for job in sorted(jobs, key=lambda job: job.state != "active"):
        if job.is_pending:
            now = f"{job.id} {_doing(job)}, GET /jobs/{job.id} follows it"
            return f"{now}; {last}" if last else now
    verb = "refreshes" if name == GLOBAL_FR else "collects"
    return f"{last}; {post} tries again{also}" if last else f"{post} {verb} it{also}"


def _doing(job: JobRecord) -> str:
    if job.state == "queued":
        return "is queued"
    return "is waiting for another job" if job.phase == "waiting" else "is running"


def _discovery(job: JobRecord | None) -> list[str]:
    """What the last run of discovery lacks, which every other job needs."""
    if job is None or job.last is None:
        return []
    if job.last.state == "failed":
        return [describe_run(job.id, job.last)]
    absent = (job.last.result or {}).get("absent")
    if not isinstance(absent, dict):
        return []
    causes = "; ".join(f"{name}: {why}" for name, why in absent.items())
    return [f"{describe_run(job.id, job.last)} without {causes}"[:LONGEST_ERROR]]
