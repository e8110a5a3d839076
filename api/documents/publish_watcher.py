"""Wakes long polls when a new version of their document is published.

One subscription per process, or over REST one poller while there are waiters, serves all waiters:
a waiter costs a future, but no thread, connection or command. Publishers or readers may lack the
right to use channels, so that waited-for documents are looked at every `poll_s` in any case.
"""

import asyncio
from collections.abc import Iterable

import structlog

from api.documents.publication_order import PublicationOrder
from cache_manager import PUBLISHED, CacheManager, DocumentMeta
from logging_setup import OutageLog
from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreUnavailable
from stores.hot.subscription import Subscription
from timing.backoff import Backoff

log = structlog.get_logger(__name__)

# With what it has.
Waiter = tuple[DocumentMeta | None, "asyncio.Future[DocumentMeta | None]"]


class PublishWatcher:
    """Waits for versions; it subscribes, on a connection of its own, with the first waiter.

    `aclose` answers all waiters and must be called at the end.
    """

    def __init__(
        self, cache: CacheManager, *, poll_s: float = 5.0, order: PublicationOrder | None = None
    ) -> None:
        self._cache = cache
        self._order = order or PublicationOrder()
        self._poll_s = poll_s
        self._waiters: dict[str, set[Waiter]] = {}
        # Metas that are the newest for as long as the subscription stays connected.
        self._newest: dict[str, DocumentMeta | None] = {}
        self._changes = 0  # publishes and reconnects: a read that spans one may be stale
        self._unread: set[str] = set()
        self._wakeup = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None
        self._closed = False
        self._outage = OutageLog(log, "publish_watch_interrupted", "publish_watch_resumed")

    async def wait_newer(
        self, name: str, held: DocumentMeta | None, timeout_s: float
    ) -> DocumentMeta | None:
        """The document's meta as soon as it is newer than `held` (None: any); None after
        `timeout_s` without one, or at shutdown.

        Waiting goes on while the store does not answer.
        """
        if self._closed:
            return None
        known = self._newest.get(name)
        if known is not None and self._order.is_newer(known, held):
            return known
        waiter: Waiter = held, asyncio.get_running_loop().create_future()
        self._waiters.setdefault(name, set()).add(waiter)
        self._start()
        self._request_read([] if name in self._newest else [name])
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter[1]
        except TimeoutError:
            return None
        finally:
            self._remove_waiter(name, waiter)

    async def aclose(self) -> None:
        """Answers every waiter with None, and unsubscribes."""
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
                store,
                store.channel(PUBLISHED),
                on_message=self._on_publish,
                on_connected=self._on_connected,
            )
            self._subscription.start()
            self._task = asyncio.create_task(self._read_after_publishes(), name="publish watcher")
        else:
            self._task = asyncio.create_task(self._poll(), name="publish poller")

    async def _read_after_publishes(self) -> None:
        backoff = Backoff(first_s=0.2, slowest_s=1.0)
        while True:
            try:
                async with asyncio.timeout(self._poll_s if self._waiters else None):
                    await self._wakeup.wait()
            except TimeoutError:
                self._unread.update(self._waiters)
            self._wakeup.clear()
            names, self._unread = self._unread, set()
            if await self._read(names):
                backoff.reset()
            else:
                self._unread |= names
                self._wakeup.set()
                await asyncio.sleep(backoff.pause_s())

    async def _poll(self) -> None:
        while True:
            if not self._waiters:
                self._wakeup.clear()
                await self._wakeup.wait()
            await asyncio.sleep(self._poll_s)
            await self._read(self._waiters)

    async def _read(self, names: Iterable[str]) -> bool:
        """Reads metas in one command and answers their waiters; False if the store is away."""
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
        for held, future in self._waiters.get(name, ()):
            if not future.done() and self._order.is_newer(meta, held):
                future.set_result(meta)

    def _on_publish(self, message: bytes) -> None:
        name = message.decode(errors="replace").partition(" ")[0]
        self._changes += 1
        self._newest.pop(name, None)
        if name in self._waiters:
            self._request_read([name])

    def _on_connected(self) -> None:
        self._changes += 1
        self._newest.clear()
        self._request_read(self._waiters)

    def _request_read(self, names: Iterable[str]) -> None:
        self._unread.update(names)
        self._wakeup.set()

    def _remove_waiter(self, name: str, waiter: Waiter) -> None:
        waiters = self._waiters.get(name, set())
        waiters.discard(waiter)
        if not waiters:
            self._waiters.pop(name, None)
