"""LoneConnection: one connection of its own, which also hears notifications, and comes back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import asyncpg
import structlog

from addresses.database_url import DatabaseAddress
from logging_setup import OutageLog
from stores.cold.pool import Connection, DatabaseHangs, DatabaseUnavailable
from texts.foreign import foreign_text
from texts.redaction import Redactor
from timing.backoff import Backoff, stop_or

_T = TypeVar("_T")
Heard = Callable[[str], None]

_CONNECT_S: Final = 4.0  # unless DATABASE_URL has connect_timeout
_CALL_S: Final = 10.0
_CLOSE_S: Final = 1.0
_FIRST_RETRY_S: Final = 0.1
_SLOWEST_RETRY_S: Final = 2.0
_LONGEST_ERROR: Final = 2000
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    OSError,
)
_log = structlog.get_logger(__name__)


class LoneConnection:
    """A connection beside the pool's, for what needs a session: LISTEN, and session locks.

    `keep` opens it, and opens it again whenever it was lost; `call` runs one piece of work at a
    time on it. The channels of `hear` are listened to on whichever connection is open; what is told
    while none is open is missed, so `opened` tells when a new one is.
    """

    def __init__(self, address: DatabaseAddress, name: str) -> None:
        """`name`: application_name, as the server's views show it."""
        self._address = address
        self._name = name
        self._redactor = Redactor(address.secrets)
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._turn = asyncio.Lock()
        self._calling: set[asyncio.Task[Any]] = set()
        self._heard: dict[str, list[Heard]] = {}
        self._opened: list[Callable[[], None]] = []

    @property
    def search_path(self) -> str | None:
        """Of DATABASE_URL, in which our tables are; the connection has its own. See `set_path`."""
        return self._address.search_path

    def hear(self, channel: str, heard: Heard) -> None:
        """Has `heard` called with the payload of each notification of `channel`. Call it before
        `keep`."""
        self._heard.setdefault(channel, []).append(heard)

    def opened(self, call: Callable[[], None]) -> None:
        """Has `call` called when a connection was opened, which listens already."""
        self._opened.append(call)

    async def keep(self, stop: asyncio.Event) -> None:
        """Keeps a connection open until `stop`, and closes it then."""
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(_log, "engine_connection_failed", "engine_connection_restored")
        try:
            while not stop.is_set():
                try:
                    await self._open()
                except DatabaseUnavailable as error:
                    outage.failed(error, connection=self._name)
                    await stop_or(stop, backoff.pause_s())
                    continue
                outage.recovered(connection=self._name)
                backoff.reset()
                await _first(stop, self._lost)
                self._drop()
        finally:
            await self._close()

    async def call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Returns what `work` returns. Raises DatabaseUnavailable if there is no connection now, or
        it was lost meanwhile, and DatabaseHangs after 10 s; other errors of the server as asyncpg
        has them. `work` goes on when its caller is cancelled: its answer is on the way."""
        calling = asyncio.create_task(self._call(work))
        self._calling.add(calling)
        calling.add_done_callback(self._calling.discard)
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            calling.add_done_callback(_drop_result)
            raise

    async def _call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise DatabaseUnavailable("the database is not connected to at present")
            try:
                async with asyncio.timeout(_CALL_S):
                    return await work(connection)
            except TimeoutError as error:
                self._drop()
                raise DatabaseHangs("the database did not answer in time") from error
            except _LOST as error:
                self._drop()
                raise DatabaseUnavailable(f"the database failed: {self._told(error)}") from error

    async def wait_until_open(self, within_s: float) -> None:
        """Returns once a connection is open, or after `within_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._ready.wait()

    async def _open(self) -> None:
        address = self._address
        try:
            opened = await asyncpg.connect(
                address.dsn,
                timeout=address.connect_s or _CONNECT_S,
                statement_cache_size=0,  # as in pool.py
                server_settings={**address.server_settings, "application_name": self._name},
                ssl=True if address.system_roots else None,
            )
        except TimeoutError as error:
            raise DatabaseHangs("the database did not answer in time") from error
        except (asyncpg.PostgresError, ValueError, *_LOST) as error:
            raise DatabaseUnavailable(f"the database failed: {self._told(error)}") from error
        # The pool's proxies have the same methods, and are what all our work is written for.
        connection = self._connection = cast("Connection", opened)
        self._lost.clear()
        connection.add_termination_listener(lambda gone: self._ended(gone))
        try:
            async with asyncio.timeout(_CALL_S):
                for channel in self._heard:
                    await connection.add_listener(channel, self._tell)
        except (TimeoutError, asyncpg.PostgresError, *_LOST) as error:
            self._drop()
            raise DatabaseUnavailable(f"the database failed: {self._told(error)}") from error
        self._ready.set()
        for call in self._opened:
            call()

    def _tell(self, _: object, __: int, channel: str, payload: object) -> None:
        for heard in self._heard.get(channel, ()):
            heard(str(payload))

    def _ended(self, gone: object) -> None:
        if gone is self._connection:
            self._connection = None
            self._ready.clear()
            self._lost.set()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._ready.clear()
        self._lost.set()
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def _close(self) -> None:
        if self._calling:
            await asyncio.wait(self._calling, timeout=_CLOSE_S)
        connection, self._connection = self._connection, None
        self._ready.clear()
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=_CLOSE_S)
        except (TimeoutError, asyncpg.PostgresError, *_LOST):
            connection.terminate()

    def _told(self, error: BaseException) -> str:
        text = (str(error) or type(error).__name__)[:_LONGEST_ERROR]
        return foreign_text(self._redactor.clean(text))


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _drop_result(calling: "asyncio.Task[Any]") -> None:
    """Marks an error as seen whose caller has gone."""
    if not calling.cancelled():
        calling.exception()
