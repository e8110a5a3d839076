"""JobRecord and LastRun: a job's stored fields as typed values.

Others may write to the store: a field that cannot be read counts as absent, and a record without a
known state is UnreadableRecord.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from job_queue.kinds import job_definition
from market.timeframes import Timeframe
from stores.hot.store import StoreUnavailable

_LONGEST_TEXT: Final = 2_000  # characters
_LONGEST_RESULT: Final = 10_000  # bytes
_MOST_NESTED: Final = 64  # objects and lists in a result
_LONGEST_ID: Final = 19  # digits of a bigint
_LARGEST_NUMBER: Final = 10**14  # as a time in ms, the year 5138

JobState = Literal["queued", "active", "complete", "failed", "aborted"]


class UnreadableRecord(StoreUnavailable):
    """The record has no state that this version knows; the next request replaces it."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The outcome of the last run that ended. Times are UTC ms; `result` is set if complete."""

    run: int
    state: str
    as_of_ms: int | None
    finished_at_ms: int
    result: Mapping[str, Any] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job's record. `run` is the current run; in the answer of `JobQueue.request` it is the
    run that will satisfy the request. Times are UTC ms."""

    id: str
    run: int
    state: JobState
    coalesced: bool
    rerun: bool
    enqueued_at: int | None
    started_at: int | None
    finished_at: int | None
    attempts: int
    phase: str
    done: int
    total: int
    error: str | None
    result: Mapping[str, Any] | None
    last: LastRun | None
    asked_by: int | None = None  # the run of the worker that asked for this run first
    failures: int = 0  # runs in a row that failed; 0 in records of earlier releases

    @property
    def kind(self) -> str:
        return job_definition(self.id).kind.name

    @property
    def timeframe(self) -> Timeframe | None:
        """The timeframe that it collects; None for `collect:all` and for other kinds of jobs."""
        return job_definition(self.id).timeframe

    @property
    def produces(self) -> tuple[str, ...]:
        """The documents that the job can publish; the setting TIMEFRAMES may leave out some."""
        return job_definition(self.id).produces

    @property
    def is_pending(self) -> bool:
        """Whether it is queued or running."""
        return self.state in ("queued", "active")


def sequence_of(flat: Sequence[bytes]) -> int:
    """The record's place in the order of requests."""
    return _fields(flat).number("seq") or 0


def read_record(job_id: str, flat: Sequence[bytes], run: int | None = None) -> JobRecord:
    """The record in a script's answer; `run` replaces the stored run number if given.

    Raises UnreadableRecord.
    """
    fields = _fields(flat)
    return JobRecord(
        id=job_id,
        run=run or fields.number("run") or 0,
        state=fields.state(),
        coalesced=fields.text("coalesced") == "1",
        rerun=fields.text("rerun_seq") is not None,
        enqueued_at=fields.number("enqueued_at"),
        started_at=fields.number("started_at"),
        finished_at=fields.number("finished_at"),
        attempts=fields.number("attempts") or 0,
        phase=fields.text("phase") or "queued",
        done=fields.number("done") or 0,
        total=fields.number("total") or 0,
        error=fields.text("error"),
        result=fields.mapping("result"),
        last=_last_run(fields),
        asked_by=fields.asked_by(run or fields.number("run") or 0),
        failures=fields.number("failures") or 0,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed access to stored fields; None for '' and for what is not of the type."""

    stored: Mapping[bytes, bytes]

    def text(self, name: str) -> str | None:
        found = self.stored.get(name.encode(), b"")
        return found.decode(errors="replace")[:_LONGEST_TEXT] or None

    def number(self, name: str) -> int | None:
        found = self.stored.get(name.encode(), b"")
        if not found.isdigit() or len(found) > len(str(_LARGEST_NUMBER)):
            return None
        return int(found)

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        found = self.stored.get(name.encode(), b"")
        nested = found.count(b"{") + found.count(b"[")
        if len(found) > _LONGEST_RESULT or nested > _MOST_NESTED:
            return None
        try:
            result = orjson.loads(found)
        except orjson.JSONDecodeError:
            return None
        return result if isinstance(result, dict) else None

    def asked_by(self, run: int) -> int | None:
        """Who asked for this run; what was noted of another run does not count."""
        of_run, _, worker_run = (self.text("asked_by") or "").partition(":")
        is_number = worker_run.isascii() and worker_run.isdigit()
        if of_run != str(run) or not is_number or len(worker_run) > _LONGEST_ID:
            return None
        return int(worker_run)

    def state(self) -> JobState:
        match self.text("state"):
            case "queued" | "active" | "complete" | "failed" | "aborted" as state:
                return state
            case other:
                raise UnreadableRecord(f"a job's record has the unknown state {other!r}")


def _fields(flat: Sequence[bytes]) -> _Fields:
    return _Fields(dict(zip(flat[::2], flat[1::2], strict=True)))


def _last_run(fields: _Fields) -> LastRun | None:
    run = fields.number("last_run")
    if run is None:
        return None
    return LastRun(
        run=run,
        state=fields.text("last_state") or "",
        as_of_ms=fields.number("last_as_of"),
        finished_at_ms=fields.number("last_finished_at") or 0,
        result=fields.mapping("last_result"),
        error=fields.text("last_error"),
    )
