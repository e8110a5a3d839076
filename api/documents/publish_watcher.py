"""Who waits for the next version of a document, and how they learn of it.

One listener (or, over REST, one poller while somebody waits) serves all waiters of a process:
a waiter costs a future, no thread, connection or command.
"""

import asyncio
from collections.abc import Iterable

import structlog

from cache_manager import PUBLISHED, CacheManager, DocumentMeta
from logging_setup import OutageLog
from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreUnavailable
from stores.hot.subscription import Subscription
from timing.backoff import Backoff

log = structlog.get_logger(__name__)

Waiter = tuple[int, "asyncio.Future[DocumentMeta | None]"]  # the version it has


class PublishWatcher:
    """`store` of the cache must be one that commands run on; listening gets its own connection.

    Starts by itself with the first waiter; close it with `aclose`, which answers the waiters.
    """

    def __init__(self, cache: CacheManager, *, poll_s: float = 5.0) -> None:
        self._cache = cache
        self._poll_s = poll_s
        self._waiters: dict[str, set[Waiter]] = {}
        # The metas that are known to be the newest, as long as the subscription stands.
        self._newest: dict[str, DocumentMeta | None] = {}
        self._changes = 0  # publishes heard and reconnections: what was read across one may be old
        self._stale: set[str] = set()
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None
        self._closed = False
        self._outage = OutageLog(log, "publishes_not_seen", "publishes_seen_again")

    async def wait_newer(
        self, name: str, version: int | None, timeout_s: float
    ) -> DocumentMeta | None:
        """The document's meta as soon as its version is greater than `version` (None: as soon as
        there is one); None when that does not happen within `timeout_s`, or at shutdown.

        While the store is away nothing newer is seen; waiting goes on.
        """
        if self._closed:
            return None
        known = self._newest.get(name)
        if known is not None and _is_news(known, version):
            return known
        waiter: Waiter = (
            -1 if version is None else version,
            asyncio.get_running_loop().create_future(),
        )
        self._waiters.setdefault(name, set()).add(waiter)
        self._start()
        if name not in self._newest:
            self._ask([name])
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter[1]
        except TimeoutError:
            return None
        finally:
            self._leave(name, waiter)

    async def aclose(self) -> None:
        """Answers every waiter with None and stops."""
        self._closed = True
        for waiters in self._waiters.values():
            for _, future in waiters:
                if not future.done():
                    future.set_result(None)
        if self._subscription is not None:
            await self._subscription.aclose()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> None:
        if self._task is not None:
            return
        store = self._cache.store
        if isinstance(store, NativeStore):
            self._subscription = Subscription(
                store, PUBLISHED, on_message=self._published, on_connected=self._reconnected
            )
            self._subscription.start()
            self._task = asyncio.create_task(self._look_when_told(), name="publish watcher")
        else:
            self._task = asyncio.create_task(self._look_now_and_then(), name="publish poller")

    async def _look_when_told(self) -> None:
        backoff = Backoff(first_s=0.2, slowest_s=1.0)
        while True:
            await self._look.wait()
            self._look.clear()
            names, self._stale = self._stale, set()
            if await self._read(names):
                backoff.reset()
            else:
                self._stale |= names
                self._look.set()
                await asyncio.sleep(backoff.pause_s())

    async def _look_now_and_then(self) -> None:
        while True:
            if not self._waiters:
                self._look.clear()
                await self._look.wait()
            await asyncio.sleep(self._poll_s)
            await self._read(self._waiters)

    async def _read(self, names: Iterable[str]) -> bool:
        """Reads metas and answers those who waited for them, in one command."""
        wanted = sorted(names)
        live = self._subscription is not None and self._subscription.live
        changes = self._changes
        try:
            metas = await self._cache.read_metas(wanted)
        except StoreUnavailable as error:
            self._outage.failed(error)
            return False
        self._outage.recovered()
        for name, meta in metas.items():
            if live and changes == self._changes:
                self._newest[name] = meta
            if meta is not None:
                self._answer(name, meta)
        return True

    def _answer(self, name: str, meta: DocumentMeta) -> None:
        for version, future in self._waiters.get(name, ()):
            if meta.version > version and not future.done():
                future.set_result(meta)

    def _published(self, message: bytes) -> None:
        name = message.decode(errors="replace").partition(" ")[0]
        self._changes += 1
        self._newest.pop(name, None)
        if name in self._waiters:
            self._ask([name])

    def _reconnected(self) -> None:
        self._changes += 1
        self._newest.clear()
        self._ask(self._waiters)

    def _ask(self, names: Iterable[str]) -> None:
        self._stale.update(names)
        self._look.set()

    def _leave(self, name: str, waiter: Waiter) -> None:
        waiters = self._waiters.get(name, set())
        waiters.discard(waiter)
        if not waiters:
            self._waiters.pop(name, None)


def _is_news(meta: DocumentMeta, version: int | None) -> bool:
    return version is None or meta.version > version
