"""Holding: a WebSocket worker that this process holds, from its lease's beginning to its end."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog
from pydantic import SecretStr

from logging_setup import cleaned_lines
from stores.cold.pool import Connection
from stores.hot.leases import Lease, LeaseLost
from stores.hot.store import HotStore, StoreUnavailable
from texts.foreign import foreign_text
from timing.backoff import stop_or, stop_or_done, within
from timing.clock import now_ms
from workers.definition import WorkerDefinition
from workers.run_handle import RunHandle, RunLost
from workers.state import WorkerStates
from workers.streams.counts import StreamCounts
from workers.streams.feed import Feed, ProxyOf, StreamGivenUp
from workers.streams.fleet import Fleet
from workers.streams.handlers import stream_function
from workers.streams.options import StreamOptions
from workers.streams.pace import RestartPace
from workers.streams.published import Publisher

STOP_S: Final = 1.0  # for the function to end by itself once it is told to stop
CANCEL_S: Final = 2.0  # for it to end once it is cancelled
_LONGEST_ERROR: Final = 500

log = structlog.get_logger(__name__)


class ContextMaker(Protocol):
    """Makes what the function of a worker is called with (workers/context.py)."""

    async def given(self, definition: WorkerDefinition) -> Mapping[str, Any]: ...
    def forget(self) -> None: ...
    def context(
        self,
        definition: WorkerDefinition,
        handle: RunHandle,
        *,
        feed: Any = None,  # a Feed
        stop: asyncio.Event | None = None,
    ) -> AbstractAsyncContextManager[Any]: ...


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What all holdings of a process share. `host` is the holder's name, `proxy_of` says through
    which proxy an address is reached."""

    store: HotStore
    maker: ContextMaker
    states: WorkerStates
    fleet: Fleet
    host: str
    proxy_of: ProxyOf
    between: Callable[[float, float], float] | None = None  # chance, for tests


class Holding:
    """Calls a worker's function, again after each failure, while its lease is held.

    When the lease is lost the function is cancelled at once; when the worker is to stop, it is told
    so and cancelled STOP_S later, and the lease is released. When its configuration has changed the
    function is ended so, too, and called again under the same lease. `changed_at_ms`: of the
    worker's row.
    """

    def __init__(
        self, parts: StreamParts, definition: WorkerDefinition, lease: Lease, changed_at_ms: int
    ) -> None:
        self.definition = definition
        self.lease = lease
        self.counts = StreamCounts(since_ms=now_ms())
        self._parts = parts
        self._changed_at_ms = changed_at_ms
        self._options = StreamOptions.of(definition.options)
        # One for all calls of the function: the store takes each number of a lease once.
        self._publisher = Publisher(parts.store, definition.name, lease, self._options.keep)
        self._function = stream_function(definition.function)
        self._stopping = asyncio.Event()
        self._lost = asyncio.Event()
        self._feed: Feed | None = None
        self._given: Mapping[str, Any] | None = None  # to the configuration of the last call
        self._changed = asyncio.Event()  # the configuration since then
        self._limit: asyncio.Timeout | None = None  # of the call
        self.work: asyncio.Task[None] | None = None  # the function's

    def stop(self) -> None:
        """Lets `run` end soon, and releases the lease."""
        self._stopping.set()
        if self._feed is not None:
            self._feed.stop()

    async def look_at_configuration(self) -> None:
        """Has the function called again, with its configuration of now, where that has changed."""
        if self._given is None or self._changed.is_set():
            return
        if await self._parts.maker.given(self.definition) == self._given:
            return
        log.info("stream_worker_reconfigured", worker=self.definition.name)
        self._changed.set()
        if self._limit is not None and self._feed is not None:
            self._feed.stop()
            self._limit.reschedule(asyncio.get_running_loop().time() + STOP_S)

    def told_counts(self) -> StreamCounts:
        """What the worker does now."""
        if self._feed is not None:
            self._feed.count_waiting()
        return self.counts

    async def run(self) -> None:
        """Holds the worker until `stop`, until the lease is lost, or until it is given up."""
        name, token = self.definition.name, self.lease.token
        with structlog.contextvars.bound_contextvars(worker=name):
            try:
                log.info("stream_worker_taken", token=token)
                await self._parts.states.started(name, token, self.counts.since_ms)
                self.work = asyncio.create_task(self._call_again(), name=f"worker {name}")
                await self._until_over(self.work)
            finally:
                if not self.lease.lost.is_set():
                    await self.lease.release()
                log.info("stream_worker_left", token=token, lost=self.lease.lost.is_set())

    async def _until_over(self, work: "asyncio.Task[None]") -> None:
        lost = asyncio.create_task(self.lease.lost.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((work, lost, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self.lease.lost.is_set():
                self._lost.set()
                log.warning("stream_worker_lost", token=self.lease.token)
            elif not work.done():
                await asyncio.wait((work,), timeout=STOP_S)
            await self._end(work)
        finally:
            for task in (lost, stopping, work):
                task.cancel()
            await asyncio.gather(lost, stopping, return_exceptions=True)
        if not self.lease.lost.is_set():
            await self._tell_end(work)

    async def _end(self, work: "asyncio.Task[None]") -> None:
        """Cancels the function, and waits for it CANCEL_S at most: what it publishes later is
        refused in any case."""
        if not work.done():
            work.cancel()
            await asyncio.wait((work,), timeout=CANCEL_S)
        if not work.done():
            log.error("stream_worker_goes_on", advice="its function swallows its cancellation")
        elif not work.cancelled() and (error := work.exception()) is not None:
            log.error("stream_worker_crashed", exc_info=error)

    async def _tell_end(self, work: "asyncio.Task[None]") -> None:
        state = "failed" if self.counts.status == "failed" else "stopped"
        await self._parts.states.ended(
            self.definition.name, self.lease.token, state, error=self.counts.error
        )

    async def _call_again(self) -> None:
        """Calls the function until it is to stop, or has failed too often."""
        pace = self._new_pace()
        attempt = 0
        while not self._stopping.is_set():
            if self._changed.is_set():
                self._changed.clear()
                pace = self._new_pace()
            attempt += 1
            began_s, before = time.monotonic(), self.counts.messages
            try:
                error = await self._call_until_changed(attempt, pace)
            except (RunLost, LeaseLost):
                self.lease.check()
                error = "its function raised RunLost while its lease is held"
            except StreamGivenUp as reason:
                await self._give_up(str(reason))
                return
            if self._stopping.is_set():
                return
            if self._changed.is_set():
                continue
            # A function that worked for long has not failed again and again.
            brought = self.counts.messages > before
            pause_s = pace.failed(time.monotonic() - began_s if brought else 0.0)
            if pause_s is None:
                await self._give_up(f"{pace.in_a_row} failures in a row, the last: {error}")
                return
            self.counts.error = error
            self.counts.restarts += 1
            self.counts.status = "waiting"
            log.warning("stream_worker_restarts", error=error, retry_in_s=round(pause_s, 1))
            await stop_or_done(self._stopping, within(pause_s, self._changed.wait()))

    def _new_pace(self) -> RestartPace:
        chance = self._parts.between
        return RestartPace(self._options, *([] if chance is None else [chance]))

    async def _call_until_changed(self, attempt: int, pace: RestartPace) -> str:
        """As `_call`, which is cancelled where a change of its configuration does not end it."""
        try:
            async with asyncio.timeout(None) as self._limit:
                return await self._call(attempt, pace)
        except TimeoutError:
            return "its configuration has changed"
        finally:
            self._limit = None

    async def _call(self, attempt: int, pace: RestartPace) -> str:
        """Calls the function once; how it ended. Raises StreamGivenUp, RunLost or LeaseLost."""
        definition, parts = self.definition, self._parts
        stop = asyncio.Event()  # of this call
        feed = self._feed = Feed(
            definition.name, definition.url, self._options, parts.proxy_of, self._publisher, pace,
            self.counts, stop,
        )  # fmt: skip
        self.counts.status = "connecting"
        try:
            self._given = await parts.maker.given(definition)
            async with parts.maker.context(
                definition, self._handle(attempt), feed=feed, stop=stop
            ) as context:
                feed.url = _configured_url(context.config) or definition.url
                await self._function(context)
            return "its function has ended"
        except (StreamGivenUp, RunLost, LeaseLost, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit and KeyboardInterrupt would end the event loop
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            log.warning("stream_worker_failed", exc_info=True)
            return told(f"{type(error).__name__}: {error}")
        finally:
            await feed.aclose()

    async def _give_up(self, why: str) -> None:
        self.counts.status, self.counts.error = "failed", told(why)
        for_s = self._options.give_up_s
        log.error("stream_worker_given_up", error=why, for_s=round(for_s))
        try:
            await self._parts.fleet.give_up(
                self.definition.name, self.lease, self._changed_at_ms, for_s
            )
        except StoreUnavailable as error:
            log.warning("stream_worker_give_up_not_told", error=str(error))
            await stop_or(self._stopping, self._options.longest_pause_s)

    def _handle(self, attempt: int) -> RunHandle:
        lease = self.lease

        async def check(_: Connection) -> None:
            await still_ours()

        async def still_ours() -> None:
            try:
                lease.check()
            except LeaseLost as error:
                raise RunLost(str(error)) from None

        return RunHandle(
            run_id=lease.token,
            worker=self.definition.name,
            slot_ms=self.counts.since_ms,
            why="websocket",
            attempt=attempt,
            claim=uuid4(),
            host=self._parts.host,
            check=check,
            still_ours=still_ours,
            lost=self._lost,
        )


def told(error: str) -> str:
    """An error as it is stored: known secrets hidden, short, on one line."""
    return foreign_text(cleaned_lines(error), _LONGEST_ERROR)


def _configured_url(config: Mapping[str, Any]) -> str | None:
    """The value `url` of a worker's configuration, which takes the place of its code's."""
    url = config.get("url")
    return url.get_secret_value() if isinstance(url, SecretStr) else url and str(url)
