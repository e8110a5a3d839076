"""What is said of a document that is not there: what to POST, and how that ended so far."""

from datetime import UTC, datetime
from typing import Final

from api.answers import NO_CACHE, Answer, problem
from documents.names import GLOBAL_FR
from job_queue.kinds import maker_of
from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from stores.hot.store import StoreUnavailable

_LONGEST_CAUSE: Final = 500


def post_of(name: str) -> tuple[str, dict[str, str] | None]:
    """Path and JSON body of the POST that refreshes this document."""
    if name == GLOBAL_FR:
        return "/api/v1/internal/update-fr", None
    return "/get-market-data", {"timeframe": name}


async def nothing_yet(queue: JobQueue, name: str) -> Answer:
    """404 that says what to do, or what is being done, and how the last run ended."""
    try:
        job = await queue.get(maker_of(name))
    except StoreUnavailable:
        job = None  # the document's absence was told, the job's state is not
    what = "no funding" if name == GLOBAL_FR else "nothing collected"
    return problem(404, f"{what} yet: {_next_step(name, job)}", NO_CACHE)


def _next_step(name: str, job: JobRecord | None) -> str:
    path, body = post_of(name)
    post = f"POST {path}" + (f' {{"timeframe":"{name}"}}' if body else "")
    last = job and last_run(job)
    if job is not None and job.is_pending:
        how = "is queued" if job.state == "queued" else "is running"
        now = f"{job.id} {how}, GET /jobs/{job.id} follows it"
        return f"{now}; {last}" if last else now
    verb = "refreshes" if name == GLOBAL_FR else "collects"
    return f"{last}; {post} tries again" if last else f"{post} {verb} it"


def last_run(job: JobRecord) -> str | None:
    """How the job's last run ended, in words: state, when, and why; None before there was one."""
    if job.last is None:
        return None
    ended = datetime.fromtimestamp(job.last.finished_at_ms / 1000, UTC)
    words = {"complete": "completed", "failed": "failed", "aborted": "was aborted"}
    how = words.get(job.last.state, f"ended as {job.last.state}")
    text = f"the last run of {job.id} {how} at {ended:%Y-%m-%dT%H:%M:%SZ}"
    return f"{text}: {job.last.error[:_LONGEST_CAUSE]}" if job.last.error else text
