"""The function that runs each kind of job, and `run_job`, which calls it and times it."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

from job_queue.records import JobRecord
from jobs.backfill import backfill
from jobs.collection import collect
from jobs.context import JobContext, Outcome, Progress
from jobs.discovery import discover
from jobs.exchanges_told import exchanges_told
from jobs.fill import fill
from jobs.funding import refresh_funding
from jobs.history import record
from jobs.holes import holes
from jobs.provider_rounds import collect_everything, collect_quick
from jobs.upkeep import compaction, integrity, retention
from stores.hot.leases import Lease

# A runner works under the worker's lease and reports through `Progress`. It returns an Outcome or
# raises JobFailed, ExchangeError, DatabaseUnavailable, StoreUnavailable or LeaseLost. The worker
# handles lease renewal, signals and queueing.
Runner = Callable[[JobContext, JobRecord, Lease, Progress], Awaitable[Outcome]]
RUNNERS: Final[Mapping[str, Runner]] = {  # by JobKind.name
    "backfill": backfill,
    "collect": collect,
    "compaction": compaction,
    "discovery": discover,
    "fill": fill,
    "funding": refresh_funding,
    "holes": holes,
    "integrity": integrity,
    "providers": collect_quick,
    "providers_all": collect_everything,
    "record": record,
    "retention": retention,
}


async def run_job(context: JobContext, job: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Runs the job and adds `duration_ms` to its result. Raises what its runner raises.

    A database that hangs costs the run one deadline.
    """
    started = time.monotonic()
    context = replace(context, database=context.database.for_one_run())
    outcome = await RUNNERS[job.kind](context, job, lease, progress)
    duration_ms = round((time.monotonic() - started) * 1000)
    told = exchanges_told(context, outcome)
    return replace(outcome, result={**outcome.result, **told, "duration_ms": duration_ms})
