"""Looking: what is known of the service and what is wrong with it, for GET /status and notices."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import structlog

from config import Settings
from database import DatabaseUnavailable, RecordFigures, ScheduleRow
from live.configured.actual import CollectorState, read_of_collectors
from status.collectors import Wanted, wanted_collectors
from status.disk import disk_room
from status.found import Found
from status.kept import Background, Recent
from status.parts_state import DEADLINE_S, DatabaseFound, PartsState, database_probe, judged
from status.problem import Problem
from status.problems import problems_of
from status.snapshot import Snapshot, read_snapshot
from status.stores import Stores
from stores.hot.read import Read, read_together
from stores.hot.store import StoreUnavailable
from timing.clock import now_ms

if TYPE_CHECKING:
    from providers.alert_log import NotedAlert
    from providers.chain import Chains
    from providers.registry import Registry
    from providers.standing import ChainStanding, Standings

T = TypeVar("T")

# Light questions, so that a schedule that fails is seen within 5 s by a page that polls.
_SCHEDULES_EVERY_S: Final = 3.0
_CURSORS_EVERY_S: Final = 10.0
# It reads samples of large tables, and sizes of all.
_RECORD_EVERY_S: Final = 60.0
_RECORD_DEADLINE_S: Final = 10.0

log = structlog.get_logger(__name__)


class Providers(Protocol):
    """What a process asks providers with, as api/parts.py has it."""

    @property
    def registry(self) -> "Registry": ...

    @property
    def chains(self) -> "Chains": ...


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at `at_ms` (UTC), the states of the parts as GET /ready has them, and the
    problems, the worst first."""

    at_ms: int
    found: Found
    state: PartsState
    problems: tuple[Problem, ...]

    @property
    def snapshot(self) -> Snapshot:
        return self.found.snapshot

    @property
    def database(self) -> DatabaseFound:
        return self.found.database


@dataclass(frozen=True, slots=True)
class _Second:
    """What the second command of the hot store told."""

    collectors: dict[str, CollectorState]
    chains: "list[ChainStanding] | None" = None
    alerts: "list[NotedAlert] | None" = None


class Looking:
    """Looks again and again, for one process. `processes`: the read of the API processes that are
    alive, of a process that knows them; `probe`: the database's, where others use it too. Call
    `aclose` when done."""

    def __init__(
        self,
        settings: Settings,
        processes: Read[list[str]] | None = None,
        probe: Recent[DatabaseFound] | None = None,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._probe = probe or database_probe(settings)
        self._wanted = Recent(wanted_collectors)
        self._schedules: Recent[list[ScheduleRow] | None] = Recent(
            _schedules, every_s=_SCHEDULES_EVERY_S
        )
        self._last_schedules: list[ScheduleRow] | None = None
        self._cursors = Background(
            lambda stores: stores.database.overview.cursors(), _CURSORS_EVERY_S, DEADLINE_S
        )
        self.record: Background[RecordFigures] = Background(
            lambda stores: stores.database.overview.record(), _RECORD_EVERY_S, _RECORD_DEADLINE_S
        )
        self._standings: tuple[object, Standings] | None = None

    async def look(self, stores: Stores, providers: Providers | None = None) -> Look:
        """Costs two commands of the hot store. What the database tells of schedules is asked at
        most every 3 s, the figures of the record every minute and in the background. `providers`:
        what this process asks them with, if it does. Raises nothing because of a store: what is
        away is a problem."""
        snapshot, database, (wanted, second), schedules, disk = await asyncio.gather(
            read_snapshot(stores, self._settings, self._processes),
            self._probe(stores),
            self._second(stores, providers),
            self._schedules(stores),
            disk_room(self._settings.data_dir),
        )
        is_away = database.state.startswith("away: ")
        if schedules is not None:
            self._last_schedules = schedules
        found = Found(
            snapshot,
            database,
            wanted,
            schedules,
            self._last_schedules,
            self._cursors(stores),
            None if is_away else self.record(stores),
            second.collectors,
            second.chains,
            second.alerts,
            disk,
        )
        at_ms = now_ms()
        return Look(
            at_ms,
            found,
            judged(self._settings, stores.store, snapshot.store, database),
            problems_of(self._settings, found, at_ms),
        )

    async def aclose(self) -> None:
        """Ends what is asked in the background."""
        await self._cursors.aclose()
        await self.record.aclose()

    async def _second(
        self, stores: Stores, providers: Providers | None
    ) -> tuple[Wanted | None, _Second]:
        """What is wanted of collectors, and what the second command tells."""
        wanted = await self._wanted(stores)
        reads: list[Read[Any]] = [read_of_collectors(wanted or ())]
        standings = None
        if providers is not None:
            # Imported here: without providers nothing of them is loaded.
            from providers.alert_log import read_of_alerts

            standings = self._standings_of(providers)
            reads += [
                standings.read_of_members(),
                standings.read_of_questions(),
                read_of_alerts(),
            ]
        elif not wanted:
            return wanted, _Second({})
        try:
            async with asyncio.timeout(DEADLINE_S):
                collectors, *told = await read_together(stores.store, "status_more", reads)
        except (StoreUnavailable, TimeoutError) as error:
            log.debug("status_not_read", error=str(error))
            return wanted, _Second({})
        if standings is None:
            return wanted, _Second(collectors)
        members, questions, alerts = told
        return wanted, _Second(collectors, standings.standings(members, questions), alerts)

    def _standings_of(self, providers: Providers) -> "Standings":
        from providers.standing import Standings

        if self._standings is None or self._standings[0] is not providers:
            made = Standings(providers.registry, providers.chains.client)
            self._standings = providers, made
        return self._standings[1]


async def _schedules(stores: Stores) -> list[ScheduleRow] | None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await stores.database.overview.schedules()
    except (DatabaseUnavailable, TimeoutError) as error:
        log.debug("schedules_not_read", error=str(error))
        return None
