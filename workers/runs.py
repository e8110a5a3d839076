"""Runs: takes the engine's runs, and gives each attempt its claim, its time and its end."""

import asyncio
import inspect
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from logging_setup import OutageLog, ThrottledLog
from stores.cold.pool import Connection, DatabaseUnavailable
from stores.cold.workers.runs import (
    Attempt,
    End,
    Known,
    NotBegun,
    Start,
    WorkerRuns,
    holds,
)
from timing.backoff import Backoff, stop_or
from workers.batches import Batches
from workers.definition import WorkerDefinition
from workers.run_ends import Ended, Why, WorkerLeft, how_it_ended
from workers.run_handle import RunHandle, RunLost
from workers.seam import Again
from workers.threads import in_thread

_LOOK_EVERY_S: Final = 0.5  # whether the claims still hold
_UNKNOWN_AGAIN_S: Final = 5.0
_FIRST_TRY_S: Final = 0.1
_SLOWEST_TRY_S: Final = 2.0
_GRACE_S: Final = 1.0  # a cancelled function gets it to clean up
_END_AT_STOP_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Maker(Protocol):
    """Makes the context of a run; see workers/context.py."""

    def context(
        self, definition: WorkerDefinition, handle: RunHandle, *, stop: asyncio.Event | None = None
    ) -> AbstractAsyncContextManager[Any]: ...


class States(Protocol):
    """Tells the hot store what runs; see workers/state.py. Raises nothing."""

    async def started(self, worker: str, run: int, started_at_ms: int, /) -> None: ...
    async def ended(
        self,
        worker: str,
        run_id: int,
        state: str,
        *,
        result: object = None,
        error: str | None = None,
    ) -> None: ...


class Counted(Protocol):
    """Counts runs; see metrics/workers.py."""

    def run_started(self, worker: str) -> None: ...
    def run_ended(self, worker: str, state: str, seconds: float) -> None: ...


@dataclass(eq=False, slots=True)
class _Running:
    """A run that this process has taken. `stop` ends its function's threads."""

    claim: uuid.UUID
    handle: RunHandle | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lost(self) -> bool:
        return self.handle is not None and self.handle.lost.is_set()

    def lose(self) -> None:
        if self.handle is not None:
            self.handle.lost.set()
        self.stop.set()


class Runs:
    """The runner of a host: see seam.Runner. `keep` goes beside it as long as runs may come."""

    def __init__(
        self,
        definitions: Mapping[str, WorkerDefinition],
        rows: WorkerRuns,
        maker: Maker,
        *,
        host: str,
        egress: str,
        states: States | None = None,
        metrics: Counted | None = None,
    ) -> None:
        self._definitions = definitions
        self._known = {
            name: Known(found.max_attempts, found.timeout_s) for name, found in definitions.items()
        }
        self._rows = rows
        self._maker = maker
        self._host = host
        self._egress = egress
        self._states = states
        self._metrics = metrics
        self._begin = Batches[Start, dict[int, Attempt | NotBegun]](self._begin_all)
        self._end = Batches[End, set[int]](rows.end)
        self._running: dict[int, _Running] = {}
        self._busy = asyncio.Event()
        self._unknown = ThrottledLog(_log)
        self._away = OutageLog(_log, "run_rows_unavailable", "run_rows_available_again")

    async def __call__(
        self, run_id: int, cancelled: asyncio.Event, stop: asyncio.Event
    ) -> Again | None:
        if (here := self._running.get(run_id)) is not None:
            # Its job was lost and made anew. This attempt is still the only one.
            await here.over.wait()
            return None
        running = self._running[run_id] = _Running(uuid.uuid4())
        self._busy.set()
        try:
            return await self._run(run_id, running, cancelled, stop)
        finally:
            running.stop.set()
            running.over.set()
            del self._running[run_id]
            if not self._running:
                self._busy.clear()

    @property
    def claims(self) -> dict[int, uuid.UUID]:
        """Of the runs whose attempts go on here, as far as it is known."""
        return {
            run_id: running.claim
            for run_id, running in self._running.items()
            if running.handle is not None and not running.handle.lost.is_set()
        }

    async def keep(self, stop: asyncio.Event) -> None:
        """Looks twice a second, while runs are running, whether they are still ours, until `stop`;
        the handles of those that are not are told."""
        while not stop.is_set():
            if not self._running:
                await _first_of(stop.wait(), self._busy.wait())
                continue
            claims = self.claims
            try:
                held = await self._rows.held(claims)
            except DatabaseUnavailable as error:
                self._away.failed(error)
            else:
                self._away.recovered()
                for run_id in claims.keys() - held:
                    running = self._running.get(run_id)
                    if running is not None and running.claim == claims[run_id]:
                        running.lose()
            await stop_or(stop, _LOOK_EVERY_S)

    async def _run(
        self, run_id: int, running: _Running, cancelled: asyncio.Event, stop: asyncio.Event
    ) -> Again | None:
        begun = await self._begun(Start(run_id, running.claim), stop)
        if begun is None:
            return Again(0.0)
        if isinstance(begun, NotBegun):
            return await self._not_begun(begun)
        with structlog.contextvars.bound_contextvars(worker=begun.worker, run=run_id):
            return await self._attempt(begun, running, cancelled, stop)

    async def _begin_all(self, starts: list[Start]) -> dict[int, Attempt | NotBegun]:
        return await self._rows.begin(starts, self._known, host=self._host, egress=self._egress)

    async def _begun(self, start: Start, stop: asyncio.Event) -> Attempt | NotBegun | None:
        """What became of the wish to begin; None if `stop` came first."""
        backoff = Backoff(_FIRST_TRY_S, _SLOWEST_TRY_S)
        while not stop.is_set():
            try:
                found = (await self._begin.call(start))[start.run_id]
            except DatabaseUnavailable as error:
                self._away.failed(error)
                await stop_or(stop, backoff.pause_s())
            else:
                self._away.recovered()
                return found
        return None

    async def _not_begun(self, run: NotBegun) -> Again | None:
        if run.state == "exhausted":
            _log.error(
                *("run_failed",),
                worker=run.worker,
                run=run.run_id,
                attempts=run.attempts,
                error="the host died in the last attempt that it had",
            )
            if self._states is not None and run.worker is not None:
                await self._states.ended(run.worker, run.run_id, "failed", error="the host died")
        elif run.state in ("queued", "running") and run.worker not in self._definitions:
            self._unknown.warning(
                "run_of_unknown_worker",
                worker=run.worker,
                run=run.run_id,
                again_in_s=_UNKNOWN_AGAIN_S,
                hint="no worker of this name is on this host: see WORKERS and WORKER_QUEUES",
            )
            return Again(_UNKNOWN_AGAIN_S)
        elif run.state in ("queued", "running"):
            return Again(_FIRST_TRY_S)  # its row changed between two looks
        return None

    async def _attempt(
        self, attempt: Attempt, running: _Running, cancelled: asyncio.Event, stop: asyncio.Event
    ) -> Again | None:
        handle = running.handle = self._handle(attempt, running)
        definition = self._definitions[attempt.worker]
        _log.info("run_started", attempt=attempt.attempt, why=attempt.why, slot_ms=attempt.slot_ms)
        if self._metrics is not None:
            self._metrics.run_started(attempt.worker)
        told = asyncio.create_task(self._tell_started(attempt))
        began_s = asyncio.get_running_loop().time()
        work = asyncio.create_task(self._work(definition, handle, running))
        try:
            why = await _wait(work, handle.lost, cancelled, stop, attempt.timeout_s)
            if why != "done":
                running.stop.set()
                await _cancel(work)
            ended = await self._ended(attempt, running, why, work, stop)
        finally:
            await _cancel(work, told if stop.is_set() else None)
        await asyncio.gather(told, return_exceptions=True)
        return await self._tell_ended(attempt, ended, asyncio.get_running_loop().time() - began_s)

    async def _work(
        self, definition: WorkerDefinition, handle: RunHandle, running: _Running
    ) -> object:
        async with self._maker.context(definition, handle, stop=running.stop) as context:
            function = definition.function
            try:
                if inspect.iscoroutinefunction(function):
                    return await function(context)
                found = await in_thread(f"worker-{definition.name}", lambda: function(context))
                return await found if inspect.isawaitable(found) else found
            except SystemExit as error:
                raise WorkerLeft(f"it tried to end the process with status {error.code}") from error
            except KeyboardInterrupt as error:  # it, too, would end the event loop
                raise WorkerLeft("it raised KeyboardInterrupt, which ends a process") from error

    async def _ended(
        self,
        attempt: Attempt,
        running: _Running,
        why: Why,
        work: "asyncio.Task[object]",
        stop: asyncio.Event,
    ) -> Ended:
        """Writes down how the attempt ended."""
        ended = how_it_ended(attempt, why, work, lost=running.lost)
        if ended.state == "lost" or not await self._written(
            ended.row(attempt, running.claim), stop
        ):
            return Ended("lost", error=ended.error)
        return ended

    async def _written(self, end: End, stop: asyncio.Event) -> bool:
        """Writes the end, however long the database is away, but briefly once `stop` is set;
        whether the attempt still held its claim."""
        backoff = Backoff(_FIRST_TRY_S, _SLOWEST_TRY_S)
        while True:
            try:
                async with asyncio.timeout(_END_AT_STOP_S if stop.is_set() else None):
                    held = end.run_id in await self._end.call(end)
            except (DatabaseUnavailable, TimeoutError) as error:
                self._away.failed(error)
                if stop.is_set():
                    return False  # its claim is found dead, and it runs again elsewhere
                await stop_or(stop, backoff.pause_s())
            else:
                self._away.recovered()
                return held

    def _handle(self, attempt: Attempt, running: _Running) -> RunHandle:
        claim, rows, run_id = running.claim, self._rows, attempt.run_id
        gone = f"run {run_id} of worker {attempt.worker} is no longer this attempt's"

        def lose() -> None:
            running.lose()
            raise RunLost(f"{gone}: it was aborted, or another host has taken it over")

        async def check(connection: Connection) -> None:
            if not await holds(connection, attempt.worker, attempt.slot_ms, claim):
                lose()

        async def still_ours() -> None:
            if run_id not in await rows.held({run_id: claim}):
                lose()

        return RunHandle(
            run_id=run_id,
            worker=attempt.worker,
            slot_ms=attempt.slot_ms,
            why=attempt.why,
            attempt=attempt.attempt,
            claim=claim,
            host=self._host,
            check=check,
            still_ours=still_ours,
            input=attempt.input,
        )

    async def _tell_started(self, attempt: Attempt) -> None:
        if self._states is not None:
            await self._states.started(attempt.worker, attempt.run_id, attempt.started_at_ms)

    async def _tell_ended(self, attempt: Attempt, ended: Ended, seconds: float) -> Again | None:
        _log.info("run_ended", state=ended.state, attempt=attempt.attempt, s=round(seconds, 3))
        if self._metrics is not None:
            self._metrics.run_ended(attempt.worker, ended.state, seconds)
        if self._states is not None and ended.state != "lost":
            await self._states.ended(
                *(attempt.worker, attempt.run_id, ended.state),
                result=ended.told_result,
                error=ended.error,
            )
        return ended.again


async def _wait(
    work: "asyncio.Task[object]",
    lost: asyncio.Event,
    cancelled: asyncio.Event,
    stop: asyncio.Event,
    timeout_s: float,
) -> Why:
    """Waits for the first of these, and returns which it was."""
    events: dict[asyncio.Task[Any], Why] = {
        asyncio.create_task(lost.wait()): "lost",
        asyncio.create_task(cancelled.wait()): "cancelled",
        asyncio.create_task(stop.wait()): "stop",
    }
    try:
        await asyncio.wait([work, *events], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return "done"
        return next((why for event, why in events.items() if event.done()), "timeout")
    finally:
        for event in events:
            event.cancel()
        await asyncio.gather(*events, return_exceptions=True)


async def _cancel(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancels tasks, and gives them a second to end; one that does not is left behind."""
    found = [task for task in tasks if task is not None and not task.done()]
    for task in found:
        task.cancel()
    if not found:
        return
    _, left = await asyncio.wait(found, timeout=_GRACE_S)
    if left:
        _log.warning("run_does_not_end", hint="its function ignores that it was cancelled")


async def _first_of(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
