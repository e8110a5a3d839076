"""The workers of parts: what this host does for the jobs of others, for the engine to run."""

from collections.abc import Mapping
from typing import Any, Final

from jobs.context import JobContext
from jobs.shard_part import collect_part
from jobs.shards import WORKER as COLLECT_PART
from workers.context import Context
from workers.definition import WorkerDefinition

_PLACE: Final = "jobs/parts.py"
_LONGEST_COLLECTION_S: Final = 3600.0


def part_workers(context: JobContext) -> list[WorkerDefinition]:
    """Their functions use this process's client of the exchanges, and so its budgets."""

    async def collect(job: Context) -> Mapping[str, Any]:
        return await collect_part(context, job.input or {})

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
        )
    ]
