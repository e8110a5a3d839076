"""The table worker_run, as hosts change it: attempts begin, end, are put back, and are checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from stores.cold.pool import Connection, Pool

EndState = Literal["complete", "failed", "aborted"]


@dataclass(frozen=True, slots=True)
class Start:
    """An attempt that a host wants to begin. `max_attempts`, `timeout_s`: what the code says, where
    the table `worker` has no row of the worker."""

    run_id: int
    claim: UUID


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has begun under `claim`. `slot_ms`: UTC ms; `attempt` counts from 1."""

    run_id: int
    worker: str
    slot_ms: int
    why: str
    attempt: int
    max_attempts: int
    timeout_s: float
    input: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended, if it still holds `claim`. `result` is JSON."""

    run_id: int
    claim: UUID
    state: Literal["complete", "failed", "aborted", "queued"]
    error: str | None = None
    result: str | None = None


class WorkerRuns:
    """Raises DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def holds(self, connection: Connection, worker: str, slot_ms: int, claim: UUID) -> bool:
        """Whether the run is running under `claim`; its row is locked then, so that it stays so
        until the caller's transaction ends."""
        raise NotImplementedError

    async def held(self, claims: Mapping[int, UUID]) -> set[int]:
        """Of the runs with these claims, those that still run under them."""
        raise NotImplementedError

    async def begin(self, starts: Sequence[Start], **_: Any) -> Mapping[int, Attempt]:
        raise NotImplementedError

    async def end(self, ends: Sequence[End]) -> set[int]:
        """Ends attempts; those that held their claims."""
        raise NotImplementedError
