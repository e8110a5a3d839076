"""The jobs `compaction`, `retention` and `integrity`, which keep the record in shape.

With SCHEDULES=off the job `record` does all three once a day.
"""

from typing import Final

import structlog

from history.upkeep import check_share, compact, retain
from job_queue.records import JobRecord
from jobs.context import JobContext, Outcome, Progress
from stores.hot.leases import Lease

_MOST_TOLD: Final = 20  # faults

log = structlog.get_logger(__name__)


async def compaction(context: JobContext, _: JobRecord, __: Lease, progress: Progress) -> Outcome:
    """Puts what was recorded one by one into chunks. Raises DatabaseUnavailable."""
    progress.enter("compact")
    return Outcome(None, await compact_record(context))


async def retention(context: JobContext, _: JobRecord, __: Lease, progress: Progress) -> Outcome:
    """Removes what is older than RETENTION_<...>_DAYS. Raises DatabaseUnavailable."""
    progress.enter("remove")
    return Outcome(None, await remove_old(context))


async def integrity(context: JobContext, _: JobRecord, __: Lease, progress: Progress) -> Outcome:
    """Checks the day's share of the series. Raises DatabaseUnavailable."""
    progress.enter("check")
    return Outcome(None, await check_record(context))


async def compact_record(context: JobContext) -> dict[str, object]:
    """The same within another job; what was done, for its result."""
    done = await compact(context.database.history, context.now_ms())
    told = {"rows": done.rows, "chunks": done.chunks}
    log.info("record_compacted", **told)
    return {**told}


async def remove_old(context: JobContext) -> dict[str, object]:
    """The same within another job; what was done, for its result."""
    database, days = context.database, context.settings.retention_days
    done = await retain(database.history, database.publishes, days, context.now_ms())
    told = {
        "removed_chunks": done.retained.chunks,
        "removed_rows": done.retained.rows,
        "removed_publishes": done.publishes,
    }
    log.info("record_retained", **told)
    return {**told}


async def check_record(context: JobContext) -> dict[str, object]:
    """The same within another job; what was checked, for its result."""
    checked = await check_share(context.database.history, context.now_ms())
    context.metrics.history_checked(len(checked.faults))
    faults = list(checked.faults[:_MOST_TOLD])
    told = {"series": checked.series, "chunks": checked.chunks, "rows": checked.rows}
    if faults:
        log.warning("record_damaged", faults=len(checked.faults), first=faults, **told)
    log.info("record_checked", **told)
    return {**told, "faults": faults}
