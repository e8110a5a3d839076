"""HostedCollector: one collector in this process, as long as its lease is held."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from config import LiveSettings
from live.builtin import create_collector
from live.configured.actual import CollectorState, StateTeller
from live.configured.definition import CollectorDefinition
from live.configured.desired import DesiredCollector
from live.configured.process_outputs import ProcessOutputs
from live.data_types import CollectorConfig, MarketDataPoint
from live.exchange_collector import ExchangeCollector
from live.manager import CollectorManager
from live.outputs.output import Output
from logging_setup import OutageLog
from stores.hot.leases import Lease, LeaseLost
from stores.hot.store import HotStore, StoreUnavailable
from texts.foreign import foreign_text
from timing.clock import Clock

STEP_S: Final = 0.5  # between looks at what is wanted and at what is to be told

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """What the collectors of a process share. `holder`: this process, in words."""

    manager: CollectorManager
    outputs: ProcessOutputs
    settings: LiveSettings
    store: HotStore
    holder: str
    clock: Clock


class Valve:
    """Hands data points to the outputs, as long as the lease is held and nobody has shut it: from
    then on another process may do it."""

    def __init__(self, lease: Lease, outputs: Sequence[Output]) -> None:
        self._lease = lease
        self._outputs = outputs
        self._is_open = True

    async def take(self, point: MarketDataPoint) -> None:
        if self._is_open and self._lease.held:
            for output in self._outputs:
                output.take(point)

    def shut(self) -> None:
        self._is_open = False


@dataclass(slots=True)
class _Made:
    """A collector, what it was made of, its valve, and whether the manager is to run it."""

    definition: CollectorDefinition
    collector: ExchangeCollector
    valve: Valve
    runs: bool


class HostedCollector:
    """Brings a collector into the state that is wanted of it, again and again.

    `wanted()`: that state, None once no file names the collector any more.
    """

    def __init__(
        self,
        parts: HostParts,
        lease: Lease,
        name: str,
        wanted: Callable[[], DesiredCollector | None],
    ) -> None:
        self._parts = parts
        self._lease = lease
        self._name = name
        self._wanted = wanted
        self._made: _Made | None = None
        self._error: str | None = None
        self._since_ms = parts.clock.wall_ms()
        first = wanted()
        self._restarts = 0 if first is None else first.wish.restarts
        self._restarting: asyncio.Task[bool] | None = None
        self._teller = StateTeller(parts.store, lease, name)
        self._told: tuple[object, ...] = ()
        self._told_s = float("-inf")
        self._outage = OutageLog(log, "collector_state_not_told", "collector_state_told_again")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, until the lease is lost, or until no file names the collector. Nothing goes
        to the outputs from the moment of that on, and the lease is free when this returns."""
        log.info("collector_hosted", collector=self._name, token=self._lease.token)
        work = asyncio.create_task(self._work(), name=f"work of {self._name}")
        ends = [asyncio.create_task(stop.wait()), asyncio.create_task(self._lease.lost.wait())]
        try:
            await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._discard()
            for task in (work, *ends):
                task.cancel()
            await asyncio.gather(work, *ends, return_exceptions=True)
            await self._lease.release()
            log.info("collector_left", collector=self._name)
        if not work.cancelled():
            work.result()

    async def _work(self) -> None:
        """Until cancelled, until the lease is lost, or until no file names the collector."""
        try:
            while (desired := self._wanted()) is not None:
                self._settle(desired)
                await self._tell(desired)
                await self._parts.clock.sleep(STEP_S)
        except LeaseLost as error:
            log.warning("collector_lease_lost", collector=self._name, error=str(error))

    # What is wanted.

    def _settle(self, desired: DesiredCollector) -> None:
        try:
            self._apply(desired)
            self._error = None
        except Exception as error:  # a collector that cannot be made harms no other
            text = foreign_text(f"{type(error).__name__}: {error}")
            if text != self._error:
                log.warning("collector_not_settled", collector=self._name, error=text)
            self._error = text

    def _apply(self, desired: DesiredCollector) -> None:
        """Raises DataValidationError for what its exchange or outputs do not have."""
        made, manager = self._made, self._parts.manager
        if made is None or not _alike(made.definition, desired.definition):
            self._discard()
            made = self._made = self._make(desired)
        _set_symbols(made.collector, list(desired.symbols))
        if made.runs is not desired.runs:
            made.runs = desired.runs
            log.info("collector_wanted", collector=self._name, running=desired.runs)
            if desired.runs:
                manager.enable_collector(self._name)
            else:
                manager.disable_collector(self._name)
        if desired.wish.restarts > self._restarts:
            self._restarts = desired.wish.restarts
            if desired.runs:
                self._restarting = asyncio.create_task(manager.restart_collector(self._name))

    def _make(self, desired: DesiredCollector) -> _Made:
        parts, definition = self._parts, desired.definition
        collector = create_collector(
            definition.exchange,
            list(desired.symbols),
            data_types=definition.data_types,
            timeframes=definition.timeframes,
            book_depth=definition.book_depth,
            component_name=self._name,
            settings=parts.settings,
            clock=parts.clock,
        )
        valve = Valve(self._lease, [parts.outputs.get(name) for name in definition.outputs])
        for kind in collector.data_types:
            collector.add_data_callback(kind, valve.take)
        config = CollectorConfig(
            name=self._name,
            exchange=definition.exchange,
            symbols=list(desired.symbols),
            data_types=list(definition.data_types),
            health_check_interval=parts.settings.default_health_check_interval,
            enabled=desired.runs,
        )
        parts.manager.add_collector(collector, config)
        return _Made(definition, collector, valve, desired.runs)

    def _discard(self) -> None:
        """Nothing of it is published from now on; its connections are closed by the manager."""
        if self._made is not None:
            self._made.valve.shut()
            self._parts.manager.remove_collector(self._name)
            self._made = None

    # What it tells of itself.

    async def _tell(self, desired: DesiredCollector) -> None:
        """Tells what has changed at once, all else now and then. Raises LeaseLost."""
        now_s, news = self._parts.clock.monotonic_s(), self._news()
        if news == self._told and now_s - self._told_s < self._teller.every_s:
            return
        try:
            await self._teller.tell(self._state(desired))
        except StoreUnavailable as error:
            self._outage.failed(error, collector=self._name)
            return
        self._outage.recovered(collector=self._name)
        self._told, self._told_s = news, now_s

    def _news(self) -> tuple[object, ...]:
        """What is told at once when it changes."""
        if self._made is None:
            return (self._error,)
        collector = self._made.collector
        health = collector.get_health_status()
        told = (health["status"], health["is_healthy"], tuple(collector.symbols), self._restarts)
        return (self._error, self._made.definition, *told)

    def _state(self, desired: DesiredCollector) -> CollectorState:
        parts = self._parts
        found: dict[str, Any] = parts.manager.get_collector_status(self._name) or {}
        return CollectorState(
            holder=parts.holder,
            since_ms=self._since_ms,
            at_ms=parts.clock.wall_ms(),
            restarts=self._restarts,
            error=self._error,
            collector=found.get("status"),
            health=found.get("health"),
            manager=found.get("manager"),
            outputs=parts.outputs.status(desired.definition.outputs),
        )


def _alike(one: CollectorDefinition, other: CollectorDefinition) -> bool:
    """Whether a collector can go on under another definition: all but symbols can be changed by
    making another one alone."""

    def rest(each: CollectorDefinition) -> tuple[object, ...]:
        return each.exchange, each.data_types, each.timeframes, each.book_depth, each.outputs

    return rest(one) == rest(other)


def _set_symbols(collector: ExchangeCollector, wanted: Sequence[str]) -> None:
    has, wants = set(collector.symbols), set(wanted)
    for symbol in sorted(has - wants):
        collector.remove_symbol(symbol)
    for symbol in wanted:
        if symbol not in has:
            collector.add_symbol(symbol)
