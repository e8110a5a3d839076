"""Reconciler: takes, keeps and gives up WebSocket workers so that each runs on one host, if wanted.

What is wanted is the worker's row; it is read again and again, and while PostgreSQL is away what
was read last goes on. Who runs it is its lease.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, Protocol

import structlog

from addresses.proxy import Proxy
from database import DatabaseUnavailable
from logging_setup import OutageLog
from metrics.workers import StreamNumbers, WorkersMetrics
from stores.cold.workers.streams import StreamWish
from stores.hot.leases import try_acquire
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import stop_or, stop_or_done, within
from workers.definition import ANY_EGRESS, WorkerDefinition, WrongWorkers
from workers.state import WorkerStates, stream_lease
from workers.streams.fleet import Fleet, Look, Pace
from workers.streams.handlers import stream_function
from workers.streams.holding import ContextMaker, Holding, StreamParts
from workers.streams.options import StreamOptions
from workers.streams.placement import to_give, to_take

_PATIENCE: Final = 1  # looks of the fuller host before it takes what an emptier one leaves
_STEADY_LOOKS: Final = 13  # of an emptier host before a worker is given to it: 10 s
_NEXT_GIVEN: Final = 3  # looks before the next one is
_WHILE_HEARD_S: Final = 5.0  # between reads of the rows while their changes are heard
_PARALLEL: Final = 16  # leases asked for at once

log = structlog.get_logger(__name__)


class _Wishes(Protocol):
    async def wishes(self, names: list[str]) -> list[StreamWish]: ...


class _Database(Protocol):
    @property
    def worker_streams(self) -> Any: ...


class _Registry(Protocol):
    @property
    def definitions(self) -> Mapping[str, WorkerDefinition]: ...


class _Changes(Protocol):
    """Tells when rows change; see workers/changes.py."""

    @property
    def is_heard(self) -> bool: ...
    def on(self, what: Literal["worker", "config"], wake: Callable[[], None], /) -> None: ...


class _Settings(Protocol):
    @property
    def egress_id(self) -> str: ...
    def usual_proxy(self, base_url: str) -> Proxy | None: ...


class Reconciler:
    """The WebSocket workers of one process. `host`: its name, by which it holds leases. Raises
    WrongWorkers for definitions that cannot be run."""

    def __init__(
        self,
        store: HotStore,
        database: _Database,
        registry: _Registry,
        maker: ContextMaker,
        *,
        settings: _Settings,
        host: str,
        changes: _Changes | None = None,
        states: WorkerStates | None = None,
        metrics: WorkersMetrics | None = None,
        pace: Pace | None = None,
        between: Callable[[float, float], float] | None = None,
    ) -> None:
        self._definitions = {
            name: definition
            for name, definition in registry.definitions.items()
            if definition.kind == "websocket"
        }
        _check(self._definitions.values())
        self._egress = settings.egress_id
        self._database = database
        self._fleet = Fleet(store, host, pace)
        self._pace = self._fleet.pace
        self._metrics = metrics
        states = states or WorkerStates(store, host)
        self._parts = StreamParts(
            store, maker, states, self._fleet, host, settings.usual_proxy, between
        )
        self._rows_changed = asyncio.Event()
        self._changes = changes
        if changes is not None:
            changes.on("worker", self._rows_changed.set)
            changes.on("config", self._rows_changed.set)
        self._wishes: dict[str, StreamWish] = {}
        self._changed = asyncio.Event()  # the wishes, or what is held
        self._holdings: dict[str, Holding] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Functions that go on although they were cancelled, by the worker's name.
        self._going_on: dict[str, asyncio.Task[None]] = {}
        self._waited: dict[str, int] = {}
        self._steady = 0
        if metrics is not None:
            metrics.watch((), self._definitions)

    @property
    def held(self) -> list[str]:
        """The names of the workers that this process holds."""
        return sorted(self._holdings)

    @property
    def wanted(self) -> list[str]:
        """The names of the workers that this process may hold, as it read last."""
        return sorted(name for name in self._definitions if self._may(name))

    async def run(self, stop: asyncio.Event) -> None:
        """Holds workers until `stop`; returns when their leases are released."""
        if not self._definitions:
            await stop.wait()
            return
        try:
            async with asyncio.TaskGroup() as running:
                running.create_task(self._follow_wishes(stop), name="wishes of WebSocket workers")
                running.create_task(self._share(stop), name="share WebSocket workers")
                running.create_task(self._tell(stop), name="beats of WebSocket workers")
        finally:
            await self._release_all()

    async def _follow_wishes(self, stop: asyncio.Event) -> None:
        """Reads the rows; what is not wanted any more is stopped at once, and what is configured
        anew is called again."""
        outage = OutageLog(log, "stream_wishes_not_read", "stream_wishes_read_again")
        while not stop.is_set():
            self._rows_changed.clear()
            try:
                rows = await self._database.worker_streams.wishes(list(self._definitions))
                outage.recovered()
                self._take_wishes({row.name: row for row in rows})
                for holding in list(self._holdings.values()):
                    await holding.look_at_configuration()
            except DatabaseUnavailable as error:
                outage.failed(error)
            heard = self._changes is not None and self._changes.is_heard
            pause_s = _WHILE_HEARD_S if heard else self._pace.wishes_s
            await stop_or_done(stop, within(pause_s, self._rows_changed.wait()))

    def _take_wishes(self, wishes: dict[str, StreamWish]) -> None:
        if wishes == self._wishes:
            return
        self._wishes = wishes
        self._parts.maker.forget()
        for name, holding in self._holdings.items():
            if not self._may(name):
                holding.stop()
        self._changed.set()

    def _may(self, name: str) -> bool:
        """Whether this process may hold the worker, and it is to run."""
        wish = self._wishes.get(name)
        return wish is not None and wish.enabled and wish.egress in (ANY_EGRESS, self._egress)

    async def _share(self, stop: asyncio.Event) -> None:
        outage = OutageLog(log, "stream_leases_unknown", "stream_leases_known_again")
        settled = False
        while not stop.is_set():
            self._changed.clear()
            pause_s = self._pace.look_s
            try:
                if self._wishes:
                    await self._look(settled)
                    if not settled:
                        settled, pause_s = True, self._pace.settle_s
                outage.recovered()
            except StoreUnavailable as error:
                outage.failed(error)
            except Exception:  # a fault of ours ends neither what is held nor the process
                log.exception("stream_look_failed")
            await stop_or_done(stop, within(pause_s, self._changed.wait()))

    async def _look(self, settled: bool) -> None:
        may = [name for name in self._definitions if self._may(name)]
        look = await self._fleet.look(may, len(self._holdings))
        free = [name for name in may if self._is_free(name, look)]
        # Counted by looks: one that a change of wishes has brought about is one, too.
        self._waited = {name: self._waited.get(name, -1) + 1 for name in free}
        if settled:
            me = self._parts.host
            taking = to_take(me, look.hosts, free, self._waited, _PATIENCE)
            for first in range(0, len(taking), _PARALLEL):
                part = taking[first : first + _PARALLEL]
                await asyncio.gather(*map(self._take, part))
            self._give(look, free)

    def _is_free(self, name: str, look: Look) -> bool:
        given_up = look.given_up.get(name) == str(self._wishes[name].changed_at_ms)
        going_on = self._going_on.get(name)
        if going_on is not None and not going_on.done():
            return False
        return not look.held[name] and not given_up and name not in self._holdings

    def _give(self, look: Look, free: list[str]) -> None:
        """Gives a worker to an emptier host once all has been steady for a while."""
        if free:  # just given, perhaps
            return
        given = to_give(self._parts.host, look.hosts, self.held)
        self._steady = 0 if given is None else self._steady + 1
        if given is not None and self._steady > _STEADY_LOOKS:
            self._steady -= _NEXT_GIVEN
            # Not ours again at once: the emptier host asks first.
            log.info("stream_worker_given", worker=given)
            self._holdings[given].stop()

    async def _take(self, name: str) -> None:
        """Takes a free worker, if no other process was faster."""
        parts = self._parts
        lease = await try_acquire(
            parts.store, stream_lease(name), holder=parts.host, ttl_s=self._pace.ttl_s
        )
        if lease is None:
            return
        if not self._may(name):  # meanwhile
            await lease.release()
            return
        changed_at_ms = self._wishes[name].changed_at_ms
        holding = Holding(parts, self._definitions[name], lease, changed_at_ms)
        self._holdings[name] = holding
        if self._metrics is not None:
            self._metrics.stream_taken(name, lambda: _numbers(holding))
        self._tasks[name] = asyncio.create_task(self._hold(name, holding), name=f"hold {name}")

    async def _hold(self, name: str, holding: Holding) -> None:
        try:
            await holding.run()
        except Exception:
            log.exception("stream_worker_holding_failed", worker=name)
        finally:
            del self._holdings[name]
            self._tasks.pop(name, None)
            if holding.work is not None and not holding.work.done():
                self._going_on[name] = holding.work
            if self._metrics is not None:
                self._metrics.stream_left(name)
            self._changed.set()

    async def _tell(self, stop: asyncio.Event) -> None:
        outage = OutageLog(log, "stream_beats_not_told", "stream_beats_told_again")
        while not await stop_or(stop, self._pace.beat_s):
            held = [
                (name, holding.lease, holding.told_counts())
                for name, holding in self._holdings.items()
                if holding.lease.held
            ]
            try:
                await self._fleet.beat(held)
                outage.recovered()
            except StoreUnavailable as error:
                outage.failed(error)

    async def _release_all(self) -> None:
        for holding in self._holdings.values():
            holding.stop()
        try:
            await self._fleet.leave()  # first, so that no other process waits for this one to ask
        except StoreUnavailable as error:
            log.warning("stream_host_not_removed", error=str(error))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _check(definitions: Iterable[WorkerDefinition]) -> None:
    wrong = []
    for definition in definitions:
        try:
            StreamOptions.of(definition.options)
            stream_function(definition.function)
        except (ValueError, TypeError) as error:
            wrong.append(f"{definition.place}: worker {definition.name}: {error}")
    if wrong:
        raise WrongWorkers(wrong)


def _numbers(holding: Holding) -> StreamNumbers:
    counts = holding.told_counts()
    return StreamNumbers(
        messages=counts.messages,
        published=counts.published,
        restarts=counts.restarts,
        lag_s=counts.lag_s,
        waiting=counts.waiting,
        last_message_ms=counts.last_message_ms or 0,
    )
