"""Parts: how a job has other hosts do a part of its work, in runs that no schedule fires."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from database import Database
from stores.cold.pool import Connection
from stores.cold.workers.run_rows import (
    OPEN_STATES,
    add_run_now,
    end_as_aborted,
    lock_run,
    old_parts,
    run_of,
    set_job,
)
from workers.seam import Cancel, Enqueue

_ABANDONED = "the work that it was a part of goes on without it"
# Nobody waits so long for a part: who asked has died, and the address is gone.
_OLD_MS = 2 * 3_600_000


@dataclass(frozen=True, slots=True)
class PartEnd:
    """How a part's run stands: `state` as in worker_run; `result` and `error` once it is over."""

    state: str
    result: Any = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN_STATES


class PartRuns(Protocol):
    """Runs of parts. All methods raise DatabaseUnavailable."""

    async def ask(self, worker: str, queue: str, given: Mapping[str, Any]) -> int:
        """Queues a run for the hosts that serve `queue`, and returns its id."""

    async def abandon(self, run_ids: Sequence[int]) -> None:
        """Ends the runs that are not over: a host that has begun one is told, and its attempt may
        write no more."""

    async def ends(self, run_ids: Sequence[int]) -> Mapping[int, PartEnd]:
        """How these runs stand, by id; without those that are gone."""


class Parts:
    """PartRuns of the table worker_run, carried by the engine."""

    def __init__(self, database: Database, *, enqueue: Enqueue, cancel: Cancel) -> None:
        self._database = database
        self._enqueue = enqueue
        self._cancel = cancel

    async def ask(self, worker: str, queue: str, given: Mapping[str, Any]) -> int:
        async def work(connection: Connection) -> int:
            run = await add_run_now(
                connection, worker=worker, why="part", queue=queue, input=given, alone=False
            )
            await set_job(connection, run, await self._enqueue(connection, run.id, queue))
            return run.id

        return await self._database.workers.in_transaction(work)

    async def abandon(self, run_ids: Sequence[int]) -> None:
        async def work(connection: Connection) -> None:
            given = []
            for run_id in sorted(run_ids):
                run = await lock_run(connection, run_id)
                if run is None or await end_as_aborted(connection, run, _ABANDONED) is None:
                    continue
                if run.job_id is not None:
                    given.append(run_id)
            if given:
                await self._cancel(connection, given)

        await self._database.workers.in_transaction(work)

    async def abandon_old(self) -> None:
        """Ends the parts that nobody has ended. Raises DatabaseUnavailable."""

        async def work(connection: Connection) -> list[int]:
            return await old_parts(connection, _OLD_MS)

        if found := await self._database.workers.in_transaction(work):
            await self.abandon(found)

    async def ends(self, run_ids: Sequence[int]) -> Mapping[int, PartEnd]:
        async def work(connection: Connection) -> Mapping[int, PartEnd]:
            found = {}
            for run_id in run_ids:
                if (run := await run_of(connection, run_id)) is not None:
                    found[run_id] = PartEnd(run.state, run.result, run.error)
            return found

        return await self._database.workers.in_transaction(work)
