"""Run: one run of a collector, from its start to its stop, through any number of connections."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from live.data_types import CollectorStatus, DataType
from live.log_files import ComponentLogger
from live.record import Record
from live.restart_pace import RestartPace
from live.symbol_changes import SymbolChanges
from live.user_calls import UserCalls
from metrics.collectors import ErrorType

CONNECT_S: Final = 30.0
SUBSCRIBE_S: Final = 30.0
DISCONNECT_S: Final = 10.0
# A message loop that reads again and again without waiting lets others run after so many messages.
_YIELD_EVERY: Final = 32
# A message loop that waits in `receive` has so long to come round before a change of symbols is
# made beside it.
_BESIDE_AFTER_S: Final = 1.0


class Streaming(Protocol):
    """What a run uses of a collector."""

    symbols: list[str]
    data_types: list[DataType]
    auto_restart: bool
    health_check_interval: float

    async def connect(self) -> bool: ...
    async def disconnect(self) -> None: ...
    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool: ...
    async def unsubscribe_from_data(
        self, symbols: list[str], data_types: list[DataType]
    ) -> bool: ...
    async def _handle_messages(self) -> None: ...
    async def _handle_connection_error(self) -> bool: ...


class Silent(Exception):
    """No data for longer than the limit."""


class Run:
    """Keeps a collector connected and reading until it is cancelled.

    `restore` is called after each `disconnect`, which may have cleared the callbacks. `log()`: the
    logger.
    """

    def __init__(
        self,
        collector: Streaming,
        record: Record,
        calls: UserCalls,
        pace: RestartPace,
        restore: Callable[[], None],
        log: Callable[[], ComponentLogger],
    ) -> None:
        self._collector = collector
        self._record = record
        self._calls = calls
        self._pace = pace
        self._restore = restore
        self._log = log
        self._clock = record.clock
        self._changing = False
        self._was_connected = False
        self.ending = False  # set before the task of `keep` is cancelled by those who close, too
        self.changes = SymbolChanges()

    async def open(self) -> bool:
        """Connects and subscribes. If that fails, all is closed again and the record says why."""
        collector = self._collector
        symbols, types = list(dict.fromkeys(collector.symbols)), list(collector.data_types)
        if not await self._step(ErrorType.CONNECTION, "connect", collector.connect, CONNECT_S):
            await self.close()
            return False
        if symbols and not await self._step(
            *(ErrorType.SUBSCRIPTION, "subscribe_to_data", collector.subscribe_to_data),
            *(SUBSCRIBE_S, symbols, types),
        ):
            await self.close()
            return False
        self.changes.subscribed(symbols, types)
        self._settle_changes()
        self._was_connected = True
        self._record.connected()
        self._log().info("connected", symbols=len(symbols))
        return True

    async def close(self, within_s: float = DISCONNECT_S) -> None:
        """Disconnects; what fails in that is recorded."""
        self._record.disconnected()
        self.changes.unsubscribed(tuple(self.changes.held))
        try:
            await self._calls.call("disconnect()", self._collector.disconnect, within_s=within_s)
        except Exception as error:
            self._failed(ErrorType.DISCONNECT, f"disconnect() failed: {_told(error)}")
        finally:
            self._restore()

    async def keep(self, *, opened: bool) -> None:
        """Reads messages, and connects again after each failure. Ends only if the collector does
        without automatic restarts and MAX_RECONNECT_ATTEMPTS are used up."""
        try:
            while not await self._keep(opened):
                opened = False
                await self._clock.sleep(self._pace.slowest_s)
        except asyncio.CancelledError:
            if not self.ending:  # the event loop ends
                await self.close()
                self._record.status = CollectorStatus.STOPPED
            raise

    async def _keep(self, opened: bool) -> bool:
        """Whether it ended as it should; False after a failure of what should never fail."""
        try:
            while True:
                if opened:
                    await self._read()
                    self._record.restarted()
                opened = True
                if not await self._recover():
                    return True
        except Exception as error:
            self._record.status = CollectorStatus.ERROR
            self._failed(ErrorType.INTERNAL, f"the collector failed: {_told(error)}")
            self._log().exception("collector_failed")
            await self.close()
            return not self._collector.auto_restart

    async def reconnect(self) -> bool:
        """One attempt: disconnects, pauses, and opens a new connection."""
        record = self._record
        await self.close()
        pause_s = self._count_attempt()
        self._log().info("reconnecting", attempt=record.attempts, pause_s=round(pause_s, 1))
        await self._clock.sleep(pause_s)
        return await self.open()

    async def apply_changes(self) -> None:
        """Subscribes what was added to the symbols, and unsubscribes what was removed."""
        if self._changing:
            return
        self._changing = True
        try:
            await self._apply_changes()
        finally:
            self._changing = False

    async def _apply_changes(self) -> None:
        collector, changes = self._collector, self.changes
        changes.due_at = None  # so that what is asked for meanwhile is due anew
        new, gone = changes.difference(collector.symbols)
        types = list(collector.data_types)
        if types != changes.types:
            new, gone = list(dict.fromkeys(collector.symbols)), list(changes.held)
        if gone and await self._step(
            *(ErrorType.SUBSCRIPTION, "unsubscribe_from_data", collector.unsubscribe_from_data),
            *(SUBSCRIBE_S, gone, changes.types),
        ):
            changes.unsubscribed(gone)
        if new and await self._step(
            *(ErrorType.SUBSCRIPTION, "subscribe_to_data", collector.subscribe_to_data),
            *(SUBSCRIBE_S, new, types),
        ):
            changes.subscribed(new, types)
        self._settle_changes()

    def _settle_changes(self) -> None:
        """What is pending is tried again after a pause, or at once if it was asked for now."""
        changes = self.changes
        if not changes.pending(self._collector.symbols, self._collector.data_types):
            changes.applied()
        elif changes.due_at is None:
            changes.failed(self._clock.monotonic_s())

    async def _read(self) -> None:
        """Reads until the stream fails, which is recorded, or is silent for too long."""
        tasks = {
            asyncio.create_task(work, name=f"{name} of {self._record.exchange}")
            for name, work in self._work().items()
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._calls.end(tasks)
            # Asked for in any case, so that asyncio does not log what nobody asked for.
            errors = {
                task: None if task.cancelled() else task.exception()
                for task in tasks
                if task.done()
            }
        for task in done:
            self._tell(errors[task])

    def _work(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "messages": self._handle_all(),
            "health": self._watch_silence(),
            "symbols": self._change_beside(),
        }

    async def _handle_all(self) -> None:
        rounds = 0
        task = asyncio.current_task()
        while True:
            now = self._record.came_round()
            due_at = self.changes.due_at
            if due_at is not None and now >= due_at:
                await self.apply_changes()
            await self._collector._handle_messages()
            if task is not None and task.cancelling():  # users' code took no notice of it
                raise asyncio.CancelledError
            rounds += 1
            if rounds % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _watch_silence(self) -> None:
        """Raises Silent. Without automatic restarts the status alone tells it."""
        record = self._record
        while True:
            await self._clock.sleep(self._collector.health_check_interval)
            record.settle()
            self._notice_changes()
            silent_s = record.clocks.silent_s(self._clock.monotonic_s())
            self._log().debug("checked", silent_s=round(silent_s, 1))
            if silent_s <= record.max_silence_s:
                continue
            if record.status is not CollectorStatus.UNHEALTHY:
                record.status = CollectorStatus.UNHEALTHY
                self._failed(ErrorType.SILENCE, f"no data for {silent_s:.0f} s")
            if self._collector.auto_restart:
                raise Silent

    def _notice_changes(self) -> None:
        """Users may change the list of symbols itself."""
        collector, changes = self._collector, self.changes
        if not changes.asked.is_set() and changes.pending(collector.symbols, collector.data_types):
            changes.ask(self._clock.monotonic_s())

    async def _change_beside(self) -> None:
        """Makes changes of symbols while the message loop waits for a message."""
        changes = self.changes
        while True:
            await changes.asked.wait()
            await self._clock.sleep(_BESIDE_AFTER_S)
            if changes.due_at is not None and self._clock.monotonic_s() >= changes.due_at:
                await self.apply_changes()

    async def _recover(self) -> bool:
        """Connects again, however often it takes; False if that is not wanted any more."""
        collector, record = self._collector, self._record
        within_s = self._pace.slowest_s + CONNECT_S + SUBSCRIBE_S + 2 * DISCONNECT_S + 10
        while True:
            if record.attempts >= record.max_attempts and not collector.auto_restart:
                await self.close()
                record.status = CollectorStatus.ERROR
                return False
            before = record.attempts
            try:
                connected = await self._calls.call(
                    "_handle_connection_error()",
                    collector._handle_connection_error,
                    within_s=within_s,
                )
            except Exception as error:
                connected = False
                self._failed(
                    ErrorType.INTERNAL, f"_handle_connection_error() failed: {_told(error)}"
                )
            if connected:
                return True
            if record.attempts == before:  # one of the user's own, which does not call ours
                await self._clock.sleep(self._count_attempt())

    def _count_attempt(self) -> float:
        """Counts an attempt to connect; returns the pause before it."""
        record = self._record
        record.attempts += 1
        hopeful = self._was_connected and record.attempts <= record.max_attempts
        record.status = CollectorStatus.RECONNECTING if hopeful else CollectorStatus.ERROR
        return self._pace.pause_s(record.attempts)

    async def _step(
        self,
        kind: ErrorType,
        name: str,
        function: Callable[..., Any],
        within_s: float,
        *arguments: Any,
    ) -> bool:
        """Calls a method of the user's; False, with the error recorded, if it failed."""
        try:
            result = await self._calls.call(f"{name}()", function, *arguments, within_s=within_s)
        except Exception as error:
            self._failed(kind, f"{name}() failed: {_told(error)}")
            return False
        if not result:
            self._failed(kind, f"{name}() returned {result!r}")
        self._log().debug(f"{name}_done", result=bool(result))
        return bool(result)

    def _tell(self, error: BaseException | None) -> None:
        """Records why a stream ended."""
        if isinstance(error, Silent):
            return  # recorded where it was seen
        if error is None:
            self._failed(ErrorType.MESSAGE, "_handle_messages() was cancelled")
            return
        kind = ErrorType.CONNECTION if isinstance(error, OSError) else ErrorType.MESSAGE
        self._failed(kind, f"_handle_messages() failed: {_told(error)}")

    def _failed(self, kind: ErrorType, text: str) -> None:
        self._log().warning("collector_error", error=self._record.failed(kind, text))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
