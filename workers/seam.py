"""The seam between our runs and the engine that carries them: what each side calls of the other."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from stores.cold.pool import Connection
from workers.definition import DEFAULT_QUEUE

if TYPE_CHECKING:
    from config import Settings


class Enqueue(Protocol):
    """Gives a run to the engine, on the caller's connection and inside its transaction: the job is
    there once that commits, and never otherwise. Returns the engine's job id. `not_before_ms`: UTC
    ms, by the database's clock."""

    async def __call__(
        self, connection: Connection, run_id: int, queue: str, not_before_ms: int | None = None
    ) -> int: ...


class Cancel(Protocol):
    """Tells the hosts that run these runs that they were aborted, and takes the jobs of those that
    none runs out of the engine. On the caller's connection: it takes effect when that commits. The
    runs' rows are the caller's to change, in the same transaction."""

    async def __call__(self, connection: Connection, run_ids: Sequence[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Again:
    """The engine is to give the run to a host again, after `after_s` seconds; `because` of an error
    of the attempt, which the console of the engine then shows."""

    after_s: float
    because: BaseException | None = None


class Runner(Protocol):
    """Runs a run that the engine has taken. `cancelled` is set when the engine was told to cancel
    it, `stop` when this host ends. Returns None once the run is over or another's. Raises
    nothing. `claims`: of the runs that go on here, by id."""

    @property
    def claims(self) -> Mapping[int, UUID]: ...

    async def __call__(
        self, run_id: int, cancelled: asyncio.Event, stop: asyncio.Event
    ) -> Again | None: ...


def queue_of_egress(egress_id: str) -> str:
    """The queue of the runs that only hosts with this EGRESS_ID take."""
    return f"egress:{egress_id}"


def served_queues(settings: "Settings") -> tuple[str, ...]:
    """The queues whose runs a host takes: `default`, WORKER_QUEUES and `egress:<EGRESS_ID>`."""
    own = (DEFAULT_QUEUE, *settings.worker_queues, queue_of_egress(settings.egress_id))
    return tuple(dict.fromkeys(own))
