"""Which function does the work of each kind of job."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from job_queue.records import JobRecord
from jobs.collection import collect
from jobs.context import JobContext, Outcome, Progress
from jobs.discovery import discover
from jobs.funding import refresh_funding
from stores.hot.leases import Lease

# Works under the lease that the worker holds, says where it is through `Progress`, and ends with
# an Outcome or an error: JobFailed, ExchangeError, DatabaseUnavailable, StoreUnavailable,
# LeaseLost. It knows nothing of the lease's renewal, of signals or of other jobs.
Runner = Callable[[JobContext, JobRecord, Lease, Progress], Awaitable[Outcome]]
RUNNERS: Final[Mapping[str, Runner]] = {  # by JobKind.name
    "collect": collect,
    "discovery": discover,
    "funding": refresh_funding,
}


async def run_job(context: JobContext, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Does the work of the job; raises what its runner raises. `duration_ms` joins the result."""
    started = time.monotonic()
    outcome = await RUNNERS[job.kind](context, job, lease, progress)
    duration_ms = round((time.monotonic() - started) * 1000)
    return Outcome(outcome.as_of_ms, {**outcome.result, "duration_ms": duration_ms})
