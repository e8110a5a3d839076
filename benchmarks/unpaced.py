"""`python -m benchmarks.unpaced JOB`: runs a job without waiting for rate limits.

It is for simulated exchanges without limits only, to measure the work without the waiting.
"""

import asyncio
import sys
from typing import Final

import uvloop

from commands.runtime import prepare, tune_garbage_collection
from config import Settings, load_settings
from logging_setup import configure_logging

_TIMES_THE_LIMIT: Final = 1000.0


async def run(settings: Settings, job_id: str) -> int:
    prepare()
    from budgets.exchange_client import ExchangeClient
    from budgets.rate_limits import RateLimits
    from commands.composition import open_parts
    from commands.foreground import run_here
    from documents.kept import KeptDocuments
    from jobs.context import JobContext

    tune_garbage_collection()
    async with (
        open_parts(settings, "benchmarks") as parts,
        ExchangeClient(settings, limits=RateLimits(_TIMES_THE_LIMIT)) as client,
    ):
        kept = KeptDocuments(0)
        context = JobContext(
            settings, parts.store, parts.cache, parts.queue, parts.database, client, kept
        )
        return await run_here(context, job_id, holder="benchmarks", wait=True, stop=asyncio.Event())


if __name__ == "__main__":
    chosen = load_settings()
    configure_logging(chosen.log_level, chosen.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(run(chosen, sys.argv[1])))
