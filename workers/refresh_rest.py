"""The rest of a refresh worker's wishes: what its function has not asked for is asked after it."""

import functools
import inspect
from typing import Any

from workers.context import Context
from workers.definition import Function


def asking_the_rest(function: Function, refreshes: tuple[str, ...], offset_s: int) -> Function:
    """The function, and after it a wish for each of `refreshes` that it has not asked for.

    A scheduled run asks for data not older than the close that it comes `offset_s` after; a forced
    one for data of its own time.
    """

    async def ask(job: Context) -> None:
        close_ms = job.slot_ms - offset_s * 1000 if job.why == "schedule" else None
        for job_id in refreshes:
            if job_id not in job.asked:
                await job.ask(job_id, not_older_than_ms=close_ms)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(job: Context) -> Any:
            result = await function(job)
            await ask(job)
            return result

        return run

    @functools.wraps(function)
    def run_in_thread(job: Context) -> Any:
        result = function(job)
        job.wait(ask(job))
        return result

    return run_in_thread
