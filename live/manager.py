"""CollectorManager: starts, watches, restarts and stops collectors, each apart from the others."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from config import LiveSettings, load_live_settings
from live.collector import BaseDataCollector
from live.data_types import CollectorConfig, DataValidationError, read_seconds
from live.log_files import get_logger
from live.managed import Managed
from live.operations import Operations
from live.resources import ProcessResources
from metrics.collectors import CollectorMetrics
from timing.clock import Clock, SystemClock

# `start` waits so long for collectors that take their time to connect; they go on after that.
START_WAIT_S: Final = 10.0
STOP_ALL_S: Final = 60.0


class CollectorManager:
    """Collectors by name, each brought into the state that is wanted of it by tasks of its own: one
    that raises or hangs harms no other.

    Every `global_health_check_interval` seconds, a collector that has given up or failed for long
    is restarted, unless it does without automatic restarts. `restart_delay`: the seconds between
    two restarts of that kind, and of `restart_all_collectors`, so that not all connect at once.
    `metrics` counts for the collectors that have none. All methods that are not async may be called
    from any thread; what they change is carried out by the event loop of `start`.
    """

    def __init__(
        self,
        manager_name: str = "collector_manager",
        global_health_check_interval: float = 60.0,
        restart_delay: float = 5.0,
        *,
        settings: LiveSettings | None = None,
        clock: Clock | None = None,
        metrics: CollectorMetrics | None = None,
    ) -> None:
        self.manager_name = manager_name
        self.global_health_check_interval = read_seconds(
            "global_health_check_interval", global_health_check_interval
        )
        self.restart_delay = read_seconds("restart_delay", restart_delay) if restart_delay else 0.0
        self.logger = get_logger(
            manager_name, verbose=True, settings=settings or load_live_settings()
        )
        self._clock = clock or SystemClock()
        self._metrics = metrics
        self._collectors: dict[str, Managed] = {}
        self._adding = threading.RLock()  # of one thread at a time
        self._operations = Operations()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = False
        self._started_s = 0.0
        self._checked_at: datetime | None = None
        self._errors = 0
        self._resources = ProcessResources()

    # Which collectors there are.

    def add_collector(
        self, collector: BaseDataCollector, config: CollectorConfig | None = None
    ) -> None:
        """Adds a collector, under the configuration's name or its exchange's; a running manager
        starts it. The configuration's symbols and data types replace the collector's own.

        Raises DataValidationError for a name or a collector that is there already.
        """
        if not isinstance(collector, BaseDataCollector):
            raise DataValidationError("collector: must be made from BaseDataCollector")
        with self._adding:
            managed = self._add(collector, config)
        self._settle_soon(managed)

    def _add(self, collector: BaseDataCollector, config: CollectorConfig | None) -> Managed:
        if any(other.collector is collector for other in self._all()):
            raise DataValidationError(f"collector: {collector.component_name} was added before")
        name = self._free_name(collector.exchange_name) if config is None else config.name
        if name in self._collectors:
            raise DataValidationError(f"name: there is a collector {name} already")
        if config is not None and config.exchange != collector.exchange_name:
            self.logger.warning(
                "collector_of_another_exchange",
                collector=name,
                configured=config.exchange,
                exchange=collector.exchange_name,
            )
        collector._configure(config, self._metrics)
        managed = self._collectors[name] = Managed(name, collector, config, self.logger)
        return managed

    def remove_collector(self, collector_name: str) -> bool:
        """Removes a collector, and stops it if the manager runs; False if there is none."""
        managed = self._collectors.pop(collector_name, None)
        if managed is None:
            return False
        managed.enabled = False
        self._settle_soon(managed)
        return True

    def enable_collector(self, collector_name: str) -> bool:
        """A running manager starts it; False if there is none of this name."""
        return self._set_enabled(collector_name, True)

    def disable_collector(self, collector_name: str) -> bool:
        """A running manager stops it; False if there is none of this name."""
        return self._set_enabled(collector_name, False)

    # Their life.

    async def start(self) -> bool:
        """Starts all enabled collectors, in the order in which they were added, side by side.

        Returns when each runs or has failed, after ten seconds at the latest: whether one runs, or
        there is none to run. Those that failed are tried again until `stop`, even if it is False.
        If the task that waits for it is cancelled, all are stopped.
        """
        return await self._operations.run(
            self._start(), f"start of {self.manager_name}", undo=self._stop
        )

    async def stop(self) -> None:
        """Stops all collectors, the last added first, side by side; within a minute at the latest,
        whatever they do."""
        self._operations.abort()
        await self._operations.run(self._stop(), f"stop of {self.manager_name}", abortable=False)

    async def restart_collector(self, collector_name: str) -> bool:
        """Restarts one collector now; whether it runs then. False if there is none of this name, if
        it is disabled, or if the manager does not run."""
        managed = self._collectors.get(collector_name)
        return managed is not None and await managed.restart()

    async def restart_all_collectors(self) -> dict[str, bool]:
        """Restarts all enabled collectors, one each `restart_delay` seconds; whether each runs
        then, by name."""
        wanted = [managed for managed in self._all() if managed.wanted]
        tasks = []
        for number, managed in enumerate(wanted):
            if number:
                await self._clock.sleep(self.restart_delay)
            tasks.append(self._spawn(managed.restart(), f"restart {managed.name}"))
        results = await asyncio.gather(*tasks)
        return {managed.name: done for managed, done in zip(wanted, results, strict=True)}

    # What they do.

    def get_status(self) -> dict[str, Any]:
        """The state of the manager and its collectors, ready for JSON."""
        collectors = dict(self._collectors)
        return {
            "manager_name": self.manager_name,
            "manager_status": "running" if self._running else "stopped",
            "should_be_running": self._running,
            "global_health_check_interval": self.global_health_check_interval,
            "restart_delay": self.restart_delay,
            "enabled_collectors": [name for name, one in collectors.items() if one.enabled],
            "statistics": {
                "total_collectors": len(collectors),
                "enabled_collectors": sum(one.enabled for one in collectors.values()),
                "running_collectors": len(self.get_running_collectors()),
                "failed_collectors": len(self.get_failed_collectors()),
                "restarts_performed": sum(one.restarts for one in collectors.values()),
                "errors": self._errors + sum(one.errors for one in collectors.values()),
                "uptime_seconds": self._uptime_s(),
                "last_global_check": (
                    None if self._checked_at is None else self._checked_at.isoformat()
                ),
            },
            "collectors": {name: one.status() for name, one in collectors.items()},
            "resources": self._resources.read(),
        }

    def get_collector_status(self, collector_name: str) -> dict[str, Any] | None:
        """Name, configuration, status and health of one collector; None if there is none."""
        managed = self._collectors.get(collector_name)
        return None if managed is None else managed.status()

    def list_collectors(self) -> list[str]:
        """The names of all collectors, in the order in which they were added."""
        return list(self._collectors)

    def get_running_collectors(self) -> list[str]:
        """The names of those that run, and are healthy enough to say so."""
        return [name for name, one in dict(self._collectors).items() if one.is_running()]

    def get_failed_collectors(self) -> list[str]:
        """The names of those that should run and have failed, though they may go on trying."""
        return [name for name, one in dict(self._collectors).items() if one.is_failed()]

    async def _start(self) -> bool:
        if self._running:
            return True
        self._loop = asyncio.get_running_loop()
        self._tasks = {task for task in self._tasks if task.get_loop() is self._loop}
        self._running = True
        self._started_s = self._clock.monotonic_s()
        wanted = [managed for managed in self._all() if managed.enabled]
        tasks = [self._settle(managed) for managed in wanted]
        self._watching = asyncio.create_task(self._watch(), name=f"watch of {self.manager_name}")
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=START_WAIT_S)
        except asyncio.CancelledError:
            await self._stop()
            raise
        running = [managed for managed in wanted if managed.is_running()]
        self.logger.info("manager_started", running=len(running), enabled=len(wanted))
        return bool(running) or not wanted

    async def _stop(self) -> bool:
        self._running = False
        watching, self._watching = self._watching, None
        if watching is not None and watching.get_loop() is asyncio.get_running_loop():
            watching.cancel()
            await asyncio.wait({watching})
        for managed in reversed(self._all()):
            self._settle(managed)
        # Those that were removed and still stop are among them.
        if tasks := self._tasks - {asyncio.current_task()}:
            _, left = await asyncio.wait(tasks, timeout=STOP_ALL_S)
            for task in left:
                task.cancel()
        self.logger.info("manager_stopped")
        return True

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self.global_health_check_interval)
            self._checked_at = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC)
            sick = [one for one in self._all() if one.needs_restart()]
            for managed in sick:
                self._spawn(managed.restart(), f"restart {managed.name}")
                await self._clock.sleep(self.restart_delay)

    def _set_enabled(self, name: str, enabled: bool) -> bool:
        managed = self._collectors.get(name)
        if managed is None:
            return False
        managed.enabled = enabled
        self._settle_soon(managed)
        return True

    def _settle_soon(self, managed: Managed) -> None:
        """On the manager's event loop, from whichever thread; nothing runs before `start`."""
        if self._loop is not None and self._running:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._settle, managed)

    def _all(self) -> list[Managed]:
        """A copy: another thread, or a collector's own code, may add and remove meanwhile."""
        return list(self._collectors.values())

    def _settle(self, managed: Managed) -> "asyncio.Task[Any]":
        managed.want(self._running and managed.enabled)
        return self._spawn(managed.settle(), f"settle {managed.name}")

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors += 1
            self.logger.error("manager_failed", exc_info=error)

    def _free_name(self, exchange: str) -> str:
        name, number = exchange, 1
        while name in self._collectors:
            number += 1
            name = f"{exchange}_{number}"
        return name

    def _uptime_s(self) -> float:
        return self._clock.monotonic_s() - self._started_s if self._running else 0.0
