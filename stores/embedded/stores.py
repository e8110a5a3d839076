"""The embedded stores in DATA_DIR: starts, shares, restarts and stops both servers.

They run in sessions of their own, listen on unix sockets only, and outlive the process that
started them; the last process that uses them stops them.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from logging_setup import OutageLog
from stores.embedded.errors import EmbeddedStoresError
from stores.embedded.folders import free_mb
from stores.embedded.postgres import EmbeddedPostgres
from stores.embedded.server import EmbeddedServer
from stores.embedded.valkey import EmbeddedValkey
from timing.backoff import Backoff

__all__ = ["EmbeddedStores", "EmbeddedStoresError", "StoreAddresses", "remove_embedded_data"]

_CHECK_EVERY_S: Final = 0.2
_CHECK_SPACE_EVERY_S: Final = 2.0
_LOW_SPACE_MB: Final = 2
_SLOWEST_RETRY_S: Final = 10.0

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoreAddresses:
    """The stores' URLs; None for a store that was not requested."""

    redis_url: str | None
    database_url: str | None = field(repr=False)  # holds a password


class EmbeddedStores:
    """The embedded stores of `data_dir`, which several processes can use at the same time.

    Between `start` and `stop`, a server that dies is restarted at the same address.
    """

    def __init__(self, data_dir: Path, *, valkey: bool = True, postgres: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self._valkey = EmbeddedValkey(self._data_dir) if valkey else None
        self._postgres = EmbeddedPostgres(self._data_dir) if postgres else None
        self._watchers: list[asyncio.Task[None]] = []
        self._addresses: StoreAddresses | None = None

    @property
    def _servers(self) -> list[EmbeddedServer]:
        return [server for server in (self._valkey, self._postgres) if server is not None]

    async def start(self) -> StoreAddresses:
        """Returns when the stores answer. Raises EmbeddedStoresError with the end of the log."""
        if self._addresses is not None:
            return self._addresses
        try:
            await asyncio.to_thread(_make_data_dir, self._data_dir)
            by_name = await self._acquire()
        except BaseException:
            await self.stop()
            raise
        self._addresses = StoreAddresses(by_name.get("valkey"), by_name.get("postgres"))
        self._watchers = [asyncio.create_task(_watch_server(server)) for server in self._servers]
        self._watchers += [
            asyncio.create_task(_watch_space(server)) for server in _one_per_disk(self._servers)
        ]
        return self._addresses

    async def _acquire(self) -> dict[str, str]:
        calls = [_in_thread(server.acquire) for server in self._servers]
        # Waits for all, so that after one failure the others can still be released.
        by_name: dict[str, str] = {}
        for server, url in zip(
            self._servers, await asyncio.gather(*calls, return_exceptions=True), strict=True
        ):
            if isinstance(url, BaseException):
                raise url
            by_name[server.name] = url
        return by_name

    async def stop(self) -> None:
        """Releases the stores, which stops those without other users. Safe to repeat."""
        watchers, self._watchers, self._addresses = self._watchers, [], None
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        releases = (asyncio.to_thread(server.release) for server in self._servers)
        # Shielded, because an interrupted release would leave a server without users.
        for result in await asyncio.shield(asyncio.gather(*releases, return_exceptions=True)):
            if isinstance(result, BaseException):
                _log.error("store_stop_failed", error=str(result))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


def remove_embedded_data(data_dir: Path) -> None:
    """Stops the embedded stores of `data_dir` and removes their files, also those elsewhere.

    Other files in `data_dir` stay. Blocks while the servers stop. Raises EmbeddedStoresError if
    a process uses them.
    """
    data_dir = data_dir.absolute()
    EmbeddedValkey(data_dir).remove()
    EmbeddedPostgres(data_dir).remove()
    folder = data_dir / "stores"
    if folder.is_dir():
        folder.rmdir()


def _make_data_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedStoresError(f"DATA_DIR cannot be created: {error}") from error


async def _watch_server(server: EmbeddedServer) -> None:
    """Restarts the server whenever it has died."""
    retries = Backoff(2 * _CHECK_EVERY_S, _SLOWEST_RETRY_S)
    outage = OutageLog(_log, "store_down", "store_restarted")
    pause_s = _CHECK_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        pause_s = _CHECK_EVERY_S
        if not server.is_alive():
            outage.failed("it is not running", store=server.name)
            try:
                await _in_thread(server.restart)
            except EmbeddedStoresError as error:
                pause_s = retries.pause_s()
                reason, _, store_log = str(error).partition("\n")
                outage.failed(reason, store=server.name, store_log=store_log)
                continue
        retries.reset()
        outage.recovered(store=server.name)


def _one_per_disk(servers: Iterable[EmbeddedServer]) -> list[EmbeddedServer]:
    disks = {server.data_folder().stat().st_dev: server for server in reversed(list(servers))}
    return list(disks.values())


def _space(server: EmbeddedServer) -> tuple[Path, int]:
    folder = server.data_folder()
    return folder, free_mb(folder)


async def _watch_space(server: EmbeddedServer) -> None:
    """Logs that the disk is full; the stores then refuse writes and still answer reads."""
    outage = OutageLog(_log, "disk_full", "disk_has_space_again")
    while True:
        try:
            folder, free = await asyncio.to_thread(_space, server)
        except OSError as error:
            outage.failed(error)
        else:
            if free < _LOW_SPACE_MB:
                where = "DATA_DIR " if folder.is_relative_to(server.data_dir) else ""
                where += str(server.data_dir if where else folder)
                outage.failed(f"no space left in {where}", free_mb=free)
            else:
                outage.recovered(free_mb=free)
        await asyncio.sleep(_CHECK_SPACE_EVERY_S)


async def _in_thread(work: Callable[[threading.Event], _T]) -> _T:
    """Runs `work` in a thread; on cancellation sets its event and waits until it has returned."""
    give_up = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, give_up))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        give_up.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it
        raise
