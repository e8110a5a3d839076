"""How a run of a job ended, in words: its error without addresses if a store's error ended it."""

from typing import Final

from job_queue.records import LastRun
from texts.hidden_addresses import without_addresses
from timing.clock import utc_text

LONGEST_ERROR: Final = 500  # characters
_OF_STORES: Final = ("redis: ", "upstash: ", "the database ")


def told_error(error: str | None) -> str | None:
    """A job's error; without addresses if a store's error ended the job."""
    if error is not None and error.startswith(_OF_STORES):
        return without_addresses(error)
    return error


def describe_run(job_id: str, run: LastRun) -> str:
    """A sentence on how a run ended: its state, time and error."""
    words = {"complete": "completed", "failed": "failed", "aborted": "was aborted"}
    how = words.get(run.state, f"ended as {run.state}")
    text = f"the last run of {job_id} {how} at {utc_text(run.finished_at_ms)}"
    error = told_error(run.error)
    return f"{text}: {error[:LONGEST_ERROR]}" if error else text
