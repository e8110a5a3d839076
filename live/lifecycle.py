"""Lifecycle: a collector's starts, stops and restarts, and all that its base class keeps of it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from config import LiveSettings
from live.callbacks import Callback, Delivery, key_of
from live.data_types import CollectorStatus, DataType, MarketDataPoint
from live.log_files import ComponentLogger, component_logger
from live.operations import Operations
from live.record import Record
from live.resources import ProcessResources
from live.restart_pace import RestartPace
from live.run import DISCONNECT_S, Run, Streaming
from live.user_calls import UserCalls
from metrics.collectors import CollectorMetrics, ErrorType
from timing.clock import Clock

FLUSH_S: Final = 5.0  # callbacks have so long to take what was read before a stop
FORCED_S: Final = 1.0  # a forced stop waits so long for each thing
_RUNNER_S: Final = 10.0  # longer than the calls that a run waits for, one within another
_REMOVED: Final = 10_000


class Living(Streaming, Protocol):
    """What a lifecycle uses of a collector."""

    exchange_name: str
    component_name: str
    # Lists that a subclass may clear in its `disconnect`.
    _data_callbacks: dict[DataType, list[Callback]]


class Lifecycle:
    """What a collector's base class keeps and does, under one name, so that no name of a subclass
    meets one of ours by chance."""

    def __init__(
        self,
        collector: Living,
        settings: LiveSettings,
        clock: Clock,
        *,
        max_silence_s: float,
        metrics: CollectorMetrics | None,
        log: ComponentLogger,
    ) -> None:
        self._collector = collector
        self._log = log
        self.record = Record(
            collector.exchange_name,
            clock,
            max_silence_s=max_silence_s,
            max_attempts=settings.max_reconnect_attempts,
            metrics=metrics,
        )
        self.delivery = Delivery(self._callback_failed, collector.component_name)
        self._clock = clock
        self._pace = RestartPace(settings.reconnect_delay, settings.max_reconnect_attempts)
        self._registered: dict[DataType, list[Callback]] = {kind: [] for kind in DataType}
        self._operations = Operations()
        self._calls = UserCalls()
        self._resources = ProcessResources()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run: Run | None = None
        self._runner: asyncio.Task[None] | None = None
        self.changing_symbols = threading.Lock()  # of one thread at a time
        self._removed: dict[str, None] = {}
        self._too_late = 0
        self._stopped = False  # and not started since

    def log(self) -> ComponentLogger:
        """The collector's logger; a subclass may have set another one."""
        return component_logger(getattr(self._collector, "logger", None), self._log)

    async def start(self) -> bool:
        """As BaseDataCollector.start; so are the other methods of these names."""
        caller = asyncio.current_task()
        return await self._operations.run(
            self._start(), self._name("start"), undo=lambda: self._stop(True, caller)
        )

    async def stop(self, *, force: bool) -> None:
        self._operations.abort()
        work = self._stop(force, asyncio.current_task())
        await self._operations.run(work, self._name("stop"), abortable=False)

    async def restart(self) -> bool:
        work = self._restart(asyncio.current_task())
        return await self._operations.run(work, self._name("restart"))

    async def reconnect(self) -> bool:
        return self._run is not None and await self._run.reconnect()

    def is_running(self) -> bool:
        runner = self._runner
        return self.record.is_connected() and runner is not None and not runner.done()

    def add_callback(self, kind: DataType, callback: Callback) -> None:
        for lists in (self._registered, self._collector._data_callbacks):
            if not any(_same(callback, other) for other in lists[kind]):
                lists[kind].append(callback)

    def remove_callback(self, kind: DataType, callback: Callback) -> None:
        for lists in (self._registered, self._collector._data_callbacks):
            lists[kind][:] = [other for other in lists[kind] if not _same(callback, other)]
        left = [other for callbacks in self._registered.values() for other in callbacks]
        if not any(_same(callback, other) for other in left):
            self._on_loop(lambda: self.delivery.forget(callback))

    def notify(self, point: MarketDataPoint) -> None:
        """Hands a point to its callbacks, unless it comes too late: of a removed symbol, after a
        stop, or of a message loop that was cancelled and took no notice of it."""
        if self._stopped or point.symbol in self._removed or self._from_an_ended_loop():
            self._too_late += 1
            return
        self.record.had_data(point.symbol, point.data_type.value)
        for callback in self._collector._data_callbacks.get(point.data_type, ()):
            self.delivery.offer(callback, point)

    def _from_an_ended_loop(self) -> bool:
        if not self._calls.set_aside:
            return False
        task = asyncio.current_task()
        return task is not None and bool(task.cancelling())

    def symbol_added(self, symbol: str) -> None:
        self._removed.pop(symbol, None)
        self.ask_for_changes()

    def symbol_removed(self, symbol: str) -> None:
        if len(self._removed) >= _REMOVED:
            del self._removed[next(iter(self._removed))]
        self._removed[symbol] = None
        self.ask_for_changes()

    def ask_for_changes(self) -> None:
        """The collector's symbols or data types were changed; from whichever thread."""
        self._on_loop(self._ask_now)

    def status(self) -> dict[str, Any]:
        """The parts of the status that are not the collector's own attributes."""
        new: list[str] = []
        gone: list[str] = []
        if self._run is not None and self.record.is_connected():
            new, gone = self._run.changes.difference(self._collector.symbols)
        return {
            "health": self.record.health(),
            "statistics": {
                **self.record.statistics(),
                "ignored_too_late": self._too_late,
            },
            "pending": {"subscribe": new, "unsubscribe": gone},
            "resources": {
                **self._resources.read(),
                "callbacks": sum(map(len, self._registered.values())),
                "queued_points": self.delivery.queued,
                "dropped_points": self.delivery.dropped,
                "stuck_calls": len(self._calls.set_aside) + self.delivery.stuck,
            },
        }

    # The operations, one at a time.

    async def _start(self) -> bool:
        record = self.record
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        if self.is_running():
            return True
        if self._run is not None:
            # It tries in the background: now is better than after its pause. What it has opened so
            # far is closed.
            await self._end_runner()
            await self._run.close()
        record.should_be_running = True
        record.status = CollectorStatus.STARTING
        if record.metrics is not None:
            record.metrics.watch(record.exchange)
        run = Run(
            self._collector, record, self._calls, self._pace, self._restore_callbacks, self.log
        )
        self._run = run
        try:
            opened = await run.open()
        except asyncio.CancelledError:
            record.should_be_running = False
            await run.close(FORCED_S)
            record.status = CollectorStatus.STOPPED
            raise
        if not opened:
            record.status = CollectorStatus.ERROR
        if opened or self._collector.auto_restart:
            self._runner = asyncio.create_task(run.keep(opened=opened), name=self._name("run"))
        return opened

    async def _stop(
        self, force: bool, caller: "asyncio.Task[Any] | None", *, forget: bool = True
    ) -> bool:
        record, run = self.record, self._run
        record.should_be_running = False
        record.status = CollectorStatus.STOPPING
        if run is not None:
            await self._end_runner(FORCED_S if force else _RUNNER_S)
            await run.close(FORCED_S if force else DISCONNECT_S)
        if not force and not await self.delivery.flush(FLUSH_S, besides=caller):
            self.log().warning("callbacks_too_slow", queued=self.delivery.queued)
        self._stopped = True
        await self.delivery.close()
        self._calls.cancel_again()
        self._run = None
        self._removed.clear()
        if forget:
            record.attempts = 0
        record.status = CollectorStatus.STOPPED
        self.log().info("stopped")
        return True

    async def _restart(self, caller: "asyncio.Task[Any] | None") -> bool:
        await self._stop(False, caller, forget=False)
        self.record.restarted()
        return await self._start()

    async def _end_runner(self, within_s: float = _RUNNER_S) -> None:
        runner, self._runner = self._runner, None
        if runner is None or runner.get_loop() is not asyncio.get_running_loop():
            return
        if self._run is not None:
            self._run.ending = True
        await self._calls.end({runner}, within_s)

    def _restore_callbacks(self) -> None:
        for kind, registered in self._registered.items():
            self._collector._data_callbacks.setdefault(kind, [])[:] = registered

    def _callback_failed(self, what: str, text: str) -> None:
        told = self.record.failed(ErrorType(what), text)
        self.log().warning("callback_failed", error=told)

    def _ask_now(self) -> None:
        if self._run is not None:
            self._run.changes.ask(self._clock.monotonic_s())

    def _on_loop(self, function: Callable[[], None]) -> None:
        """Calls the function on the collector's event loop, from whichever thread."""
        if self._loop is None:
            function()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing runs there any more
            self._loop.call_soon_threadsafe(function)

    def _name(self, what: str) -> str:
        return f"{what} of {self._collector.component_name}"


def _same(one: Callback, other: Callback) -> bool:
    return one is other or key_of(one) == key_of(other)
