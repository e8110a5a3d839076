"""How attempts end: what is stored of results and errors, and when the next attempt begins."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import structlog

from logging_setup import cleaned_lines, without_secrets
from stores.cold.workers.runs import Attempt, End, EndState
from texts.foreign import foreign_text
from texts.json_texts import with_texts
from workers.seam import Again

_LONGEST_ERROR: Final = 2000
_LONGEST_RESULT: Final = 1_000_000  # bytes of JSON
_FIRST_RETRY_S: Final = 1.0
_SLOWEST_RETRY_S: Final = 60.0
_ESCAPED: Final = re.compile(r"\\u(?:0000|d[89a-f])")
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")
_log = structlog.get_logger(__name__)

Why = Literal["done", "timeout", "cancelled", "lost", "stop"]


class WorkerLeft(Exception):
    """A worker's function tried to end the process; the message says how."""


class TookTooLong(Exception):
    """An attempt took longer than the worker's timeout."""


def retry_s(attempt: int) -> float:
    """How long after the end of a failed attempt the next one begins: 1 s, doubled each time, at
    most a minute. `attempt` counts from 1."""
    return min(_FIRST_RETRY_S * 2.0 ** min(attempt - 1, 10), _SLOWEST_RETRY_S)


def error_text(error: BaseException) -> str:
    """An error as the run's row keeps it: its type and message, cut, without known secrets."""
    kind = type(error).__name__
    try:
        said = str(error)
    except Exception as failed:  # of a user's class
        said = f"(its text is not told: {type(failed).__name__})"
    return foreign_text(cleaned_lines(f"{kind}: {said}" if said else kind), _LONGEST_ERROR)


def result_text(result: object) -> str | None:
    """What a worker returned as JSON text in ASCII, as the run's row keeps it; None for None.

    What JSON does not know is told as text; what is longer than a megabyte is told by its size.
    Known secrets are hidden, and what no text of PostgreSQL or UTF-8 can hold becomes �.
    """
    if result is None:
        return None
    try:
        text = json.dumps(result, allow_nan=False, default=str)
    except Exception as error:  # also whatever the __str__ of a user's class raises
        return json.dumps({"not_json": f"{type(result).__name__}: {error_text(error)}"})
    if len(text) > _LONGEST_RESULT:
        return json.dumps({"too_long": len(text)})
    return without_secrets(_storable(text))


def _storable(json_text: str) -> str:
    """JSON without NUL and lone surrogates, each of which one reader or another refuses."""
    if _ESCAPED.search(json_text) is None:
        return json_text
    told = json.loads(json_text)  # pairs of surrogates are one character now
    return json.dumps(with_texts(told, lambda text: _UNSTORABLE.sub("�", text)))


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended; `lost`: the claim is another's, and nothing is written. `result`: JSON,
    as the run's row keeps it."""

    state: EndState | Literal["lost"]
    error: str | None = None
    result: str | None = None
    counted: bool = True
    again: Again | None = None

    @property
    def told_result(self) -> object:
        """The result as its readers get it."""
        return None if self.result is None else json.loads(self.result)

    def row(self, attempt: Attempt, claim: UUID) -> End:
        assert self.state != "lost"  # noqa: S101 - the caller's case
        return End(
            *(attempt.run_id, claim, self.state, self.error),
            result=self.result,
            counted=self.counted,
        )


def how_it_ended(attempt: Attempt, why: Why, work: "asyncio.Task[object]", *, lost: bool) -> Ended:
    """How an attempt ended whose wait was over for the reason `why`, its function's task being
    `work`. `lost`: its claim is known to be gone."""
    if lost:
        _log.warning("run_lost", attempt=attempt.attempt)
        return Ended("lost")
    if why == "cancelled":
        # By the control's abort the claim is gone already, and this writes nothing.
        return Ended("aborted", "cancelled in the console of the engine")
    if why == "stop" and not _has_result(work):
        return Ended("queued", counted=False, again=Again(0.0))
    if why == "timeout":
        limit = f"it took longer than its timeout of {attempt.timeout_s:g} s"
        return _failed(attempt, TookTooLong(limit))
    if work.cancelled():
        return _failed(attempt, asyncio.CancelledError("the worker's function cancelled itself"))
    error = work.exception()
    if error is None:
        return Ended("complete", result=result_text(work.result()))
    return _failed(attempt, error)


def _failed(attempt: Attempt, error: BaseException) -> Ended:
    last = attempt.attempt >= attempt.max_attempts
    told = error_text(error)
    _log.error(
        *("attempt_failed",),
        attempt=attempt.attempt,
        of=attempt.max_attempts,
        error=told,
        exc_info=error,
    )
    if last:
        return Ended("failed", told)
    return Ended("queued", told, again=Again(retry_s(attempt.attempt), error))


def _has_result(work: "asyncio.Task[object]") -> bool:
    """Whether the function returned all the same, as it was told to stop."""
    return work.done() and not work.cancelled() and work.exception() is None
