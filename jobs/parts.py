"""The workers of parts: what this host does for the jobs of others, for the engine to run."""

from collections.abc import Mapping
from typing import Any, Final

from jobs.backfill_part import backfill_part
from jobs.backfill_spread import WORKER as BACKFILL_PART
from jobs.context import JobContext
from jobs.shard_part import collect_part
from jobs.shards import WORKER as COLLECT_PART
from workers.context import Context
from workers.definition import WorkerDefinition

_PLACE: Final = "jobs/parts.py"
_LONGEST_COLLECTION_S: Final = 3600.0
_LONGEST_CHUNK_S: Final = 300.0  # it is given up long before


def part_workers(context: JobContext) -> list[WorkerDefinition]:
    """Their functions use this process's client of the exchanges, and so its budgets."""

    async def collect(job: Context) -> Mapping[str, Any]:
        return await collect_part(context, job.input or {})

    async def backfill(job: Context) -> Mapping[str, Any]:
        return await backfill_part(context, job.input or {}, job.check)

    return [
        WorkerDefinition(
            name=COLLECT_PART,
            kind="schedule",
            function=collect,
            place=_PLACE,
            origin="code",
            timeout_s=_LONGEST_COLLECTION_S,
            max_attempts=1,  # the asker does what is not done in time
            listed=False,
            description="Fetches a part of the collection of another host.",
        ),
        WorkerDefinition(
            name=BACKFILL_PART,
            kind="schedule",
            function=backfill,
            place=_PLACE,
            origin="code",
            timeout_s=_LONGEST_CHUNK_S,
            max_attempts=1,  # the host that handed it out does what is not done in time
            listed=False,
            description="Asks for some pages of a backfill that another host works on.",
        ),
    ]
