"""Looking: what is known of the service and what is wrong with it, for GET /status and notices."""

import asyncio
from dataclasses import dataclass

from config import Settings
from status.parts_state import DatabaseFound, PartsState, Recent, database_probe, judged
from status.problem import Problem
from status.problems import problems_of
from status.snapshot import Snapshot, read_snapshot
from status.stores import Stores
from stores.hot.read import Read
from timing.clock import now_ms


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at `at_ms` (UTC): what each store told, the states of the parts as GET /ready
    has them, and the problems, the worst first."""

    at_ms: int
    snapshot: Snapshot
    database: DatabaseFound
    state: PartsState
    problems: tuple[Problem, ...]


class Looking:
    """Looks again and again, for one process. `processes`: the read of the API processes that are
    alive, of a process that knows them; `probe`: the database's, where others use it too."""

    def __init__(
        self,
        settings: Settings,
        processes: Read[list[str]] | None = None,
        probe: Recent[DatabaseFound] | None = None,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._probe = probe or database_probe(settings)

    async def look(self, stores: Stores) -> Look:
        """Costs one command of the hot store, and what the database tells is asked at most once a
        second. Raises nothing because of a store: what is away is a problem."""
        snapshot, database = await asyncio.gather(
            read_snapshot(stores, self._settings, self._processes), self._probe(stores)
        )
        at_ms = now_ms()
        return Look(
            at_ms,
            snapshot,
            database,
            judged(self._settings, stores.store, snapshot.store, database),
            problems_of(self._settings, snapshot, database, at_ms),
        )
