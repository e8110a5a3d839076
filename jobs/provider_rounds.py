"""The jobs `providers` and `providers_all`: what the agent asks the providers in its rounds."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from job_queue.records import JobRecord
from jobs.context import JobContext, JobFailed, Outcome, Progress
from stores.hot.leases import Lease

if TYPE_CHECKING:
    from providers.collecting.collected import Collected
    from providers.collecting.service import DataCollectorService


async def collect_quick(
    context: JobContext, _: JobRecord, lease: Lease, progress: Progress
) -> Outcome:
    """Prices, fees and sentiment."""
    return await _collected(context, progress, lambda service: service.collect_quick())


async def collect_everything(
    context: JobContext, _: JobRecord, lease: Lease, progress: Progress
) -> Outcome:
    """All that providers tell."""
    return await _collected(context, progress, lambda service: service.collect_all())


async def _collected(
    context: JobContext,
    progress: Progress,
    collect: "Callable[[DataCollectorService], Awaitable[list[Collected]]]",
) -> Outcome:
    if context.providers is None:
        raise JobFailed("PROVIDERS=off: set it to on to ask providers")
    # Imported here: where they are off, nothing of providers is loaded.
    from providers.collecting.requests_made import requests_counted

    progress.enter("fetch")
    with requests_counted() as made:
        found = await collect(context.providers)
    result: dict[str, Any] = {
        "rows": sum(each.rows for each in found),
        "requests": made.number,
        "kinds": {each.kind: each.told() for each in found},
    }
    if found and not any(each.records for each in found):
        causes = [f"{each.kind}: {why}" for each in found for why in each.missing.values()]
        if causes:
            raise JobFailed("no provider answered: " + "; ".join(dict.fromkeys(causes))[:2000])
    return Outcome(None, result)
