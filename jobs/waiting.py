"""A job's wait for another job: at most 30 s, and only while that job is queued or running."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from job_queue.records import JobRecord
from jobs.context import JobContext, Progress
from stores.hot.leases import Lease, retry_under_lease
from timing.backoff import stop_or

_LONGEST_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.5  # for runs that end in other processes


async def _never() -> bool:
    return False


async def wait_for_job(
    context: JobContext,
    job_id: str,
    lease: Lease,
    progress: Progress,
    *,
    is_done: Callable[[], Awaitable[bool]] = _never,
) -> JobRecord | None:
    """Waits while the job is queued or running, 30 s at most, and returns its last seen record.

    Returns None if there is no record, or as soon as `is_done` returns true because the job's
    result exists. Raises what `is_done` raises, LeaseLost and StoreRefused.
    """
    deadline = time.monotonic() + _LONGEST_S
    while True:
        run_ended = context.queue.next_run_end()
        if await is_done():
            return None
        job = await retry_under_lease(lease, lambda: context.queue.get(job_id))
        left_s = deadline - time.monotonic()
        if job is None or not job.is_pending or left_s <= 0:
            return job
        progress.enter("waiting")
        await stop_or(run_ended, min(_LOOK_EVERY_S, left_s))
