"""Context: what a worker's function gets; ContextMaker makes it for each run and closes it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

import structlog

from config import Settings
from logging_setup import EventLog
from stores.cold.pool import Connection
from stores.hot.store import HotStore
from workers.asking import Asked, Asker, Outcome, through_outage
from workers.definition import WorkerDefinition
from workers.http import Http
from workers.http_clients import HttpClients
from workers.run_handle import RunHandle, RunLost

T = TypeVar("T")
_LOOK_EVERY_S: Final = 0.5  # of a thread, whether its run is still wanted


class Feed(Protocol):
    """What a WebSocket worker has beside the rest; see workers/streams/."""

    @property
    def connections(self) -> int: ...
    @property
    def messages(self) -> Callable[..., AsyncIterator[str | bytes]]: ...
    async def send(self, message: str | bytes) -> None: ...
    async def publish(self, *values: Any) -> None: ...
    def send_blocking(self, message: str | bytes) -> None: ...
    def publish_blocking(self, *values: Any) -> None: ...


class Configuring(Protocol):
    """The configuration chain; see workers/configuration.py."""

    async def read(self, definition: WorkerDefinition) -> Mapping[str, Any]: ...
    async def given(self, definition: WorkerDefinition) -> Mapping[str, Any]: ...
    def forget(self) -> None: ...


class UsersDatabases(Protocol):
    """The databases of @database; see workers/databases/."""

    def unit_of_work(self, name: str, handle: RunHandle) -> AbstractAsyncContextManager[Any]: ...


class Context:
    """A run as its function sees it.

    `name`: of the worker. `run`: the run's id; None for WebSocket workers and for runs by
    `workers run`. `slot_ms`: the instant that the run stands for, UTC ms. `attempt` counts from 1.
    `why`: schedule, force, retry, part, websocket. `input`: what was given to the run.
    `config`: the worker's configuration, read when the run began. `log`: structlog; lines go to the
    console and to the execution log. `redis`: the hot store's client, whose keys get REDIS_PREFIX.
    `settings`: of this process. `stop`: set when the run is to end; functions in threads look at
    it.
    """

    def __init__(
        self,
        definition: WorkerDefinition,
        handle: RunHandle,
        *,
        settings: Settings,
        config: Mapping[str, Any],
        redis: HotStore,
        asker: Asker,
        clients: HttpClients,
        databases: UsersDatabases | None,
        feed: Feed | None,
        stop: asyncio.Event,
    ) -> None:
        self.name = definition.name
        self.run = None if feed is not None or not handle.run_id else handle.run_id
        self.slot_ms = handle.slot_ms
        self.attempt = handle.attempt
        self.why = handle.why
        self.input = handle.input
        self.settings = settings
        self.config = config
        self.redis = redis
        self.log: EventLog = structlog.get_logger("workers.user")
        self.stop = stop
        self.asked: dict[str, Asked] = {}
        self._handle = handle
        self._asker = asker
        self._clients = clients
        self._databases = databases
        self._feed = feed
        self._loop = asyncio.get_running_loop()

    def http(self, impersonate: str | None = None) -> Http:
        """An HTTP client, closed after the run. `impersonate`: a browser whose requests its own
        look like, such as `chrome`; only for sources whose terms allow it. Needs
        requirements-browser.txt. Raises BrowserMissing, ValueError."""
        return self._clients.client(impersonate)

    async def ask(self, job_id: str, not_older_than_ms: int | None = None) -> Asked:
        """Asks for a job such as `collect:5m` or `funding`. With `not_older_than_ms` (UTC ms)
        nothing is asked where its documents are new enough. While the hot store is away it is asked
        again, until the run's time is over. Raises ValueError for an unknown id, StoreRefused."""
        asked = await through_outage(
            lambda: self._asker.ask(job_id, not_older_than_ms, asked_by=self.run)
        )
        self.asked[job_id] = asked
        return asked

    async def wait_for(self, asked: Asked, within_s: float) -> Outcome:
        """Waits until what was asked for has ended, `within_s` at most, and longer only while the
        hot store is away. Raises StoreRefused."""
        deadline_s = time.monotonic() + within_s
        return await through_outage(
            lambda: self._asker.wait_for(asked, max(0.0, deadline_s - time.monotonic()))
        )

    async def is_fresh(self, job_id: str, not_older_than_ms: int) -> bool:
        """Whether `ask` would find all documents of the job to be new enough. The hot store is
        asked as by `ask`. Raises ValueError for an unknown id, StoreRefused."""
        return await through_outage(lambda: self._asker.is_fresh(job_id, not_older_than_ms))

    async def pending(self, job_id: str) -> Asked | None:
        """The run of a job that is queued or running, to be waited for; None where there is none.
        The hot store is asked as by `ask`. Raises StoreRefused."""
        return await through_outage(lambda: self._asker.pending(job_id))

    def unit_of_work(self, name: str = "main") -> AbstractAsyncContextManager[Any]:
        """A transaction on a database of @database. It is committed at the end of the block, if the
        run is still ours, and rolled back after an error. Raises RunLost."""
        if self._databases is None:
            raise RuntimeError("there are no databases here: declare one with @database")
        return self._databases.unit_of_work(name, self._handle)

    async def still_ours(self) -> None:
        """Before an effect that cannot be taken back: raises RunLost where another attempt has
        replaced this one, or the run was aborted; DatabaseUnavailable."""
        await self._handle.still_ours()

    async def check(self, connection: Connection) -> None:
        """The same on a connection to the service's own database, inside a transaction, which then
        commits only what was written while the run was ours."""
        await self._handle.check(connection)

    def wait(self, awaitable: Awaitable[T]) -> T:
        """For functions that are a plain `def`: waits for a call such as `job.http().get(url)`, and
        returns what it returns. Raises RunLost once the run is to end, and what the call raises."""

        async def called() -> T:
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(called(), self._loop)
        while True:
            try:
                return future.result(_LOOK_EVERY_S)
            except TimeoutError:
                if future.done():  # the call's own
                    raise
                if self.stop.is_set():
                    future.cancel()
                    raise RunLost(f"worker {self.name}: the run is to end") from None

    @property
    def connections(self) -> int:
        """How many WebSockets this holding of the worker has opened."""
        return self._of_feed().connections

    def messages(self, url: str | None = None, **options: Any) -> AsyncIterator[str | bytes]:
        """The messages of a WebSocket worker, over reconnects. See docs/workers.md."""
        return self._of_feed().messages(url, **options)

    async def send(self, message: str | bytes) -> None:
        """Sends a message over the WebSocket."""
        await self._of_feed().send(message)

    async def publish(self, *values: Any) -> None:
        """Publishes values of a WebSocket worker; refused once another host has the worker."""
        await self._of_feed().publish(*values)

    def send_blocking(self, message: str | bytes) -> None:
        self._of_feed().send_blocking(message)

    def publish_blocking(self, *values: Any) -> None:
        self._of_feed().publish_blocking(*values)

    def _of_feed(self) -> Feed:
        if self._feed is None:
            raise RuntimeError(f"worker {self.name}: only a WebSocket worker has messages")
        return self._feed


class ContextMaker:
    """Makes the Context of each run; one for a process."""

    def __init__(
        self,
        settings: Settings,
        store: HotStore,
        asker: Asker,
        configuration: Configuring | None = None,
        databases: UsersDatabases | None = None,
    ) -> None:
        """Without `configuration` a run has none."""
        self._settings = settings
        self._store = store
        self._asker = asker
        self._configuration = configuration
        self._databases = databases

    async def given(self, definition: WorkerDefinition) -> Mapping[str, Any]:
        """What the worker's configuration is given now; see workers/configuration.py."""
        return {} if self._configuration is None else await self._configuration.given(definition)

    def forget(self) -> None:
        """Has configuration read again by the next call: it was changed."""
        if self._configuration is not None:
            self._configuration.forget()

    @contextlib.asynccontextmanager
    async def context(
        self,
        definition: WorkerDefinition,
        handle: RunHandle,
        *,
        feed: Feed | None = None,
        stop: asyncio.Event | None = None,
    ) -> AsyncIterator[Context]:
        """The Context of one attempt; its HTTP clients are closed at the end. Lines that are logged
        meanwhile have the worker and the run. `stop`: default handle.lost. Raises what reading the
        configuration raises."""
        logged: dict[str, Any] = {"worker": definition.name}
        if feed is None and handle.run_id:
            logged["run"] = handle.run_id
        with structlog.contextvars.bound_contextvars(**logged):
            config: Mapping[str, Any] = {}
            if self._configuration is not None:
                config = await self._configuration.read(definition)
            async with HttpClients(self._settings) as clients:
                yield Context(
                    definition,
                    handle,
                    settings=self._settings,
                    config=config,
                    redis=self._store,
                    asker=self._asker,
                    clients=clients,
                    databases=self._databases,
                    feed=feed,
                    stop=stop or handle.lost,
                )
