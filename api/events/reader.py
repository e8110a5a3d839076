"""EventReader: one reader of the log for all listeners of a process, and only while there are any.

It keeps the log's newest entries in memory, so that listeners which come back are answered without
a command of their own. Over Redis it looks when a message tells of new entries, and in any case
every `poll_s`, because publishers or readers may lack the right to use channels; over REST it looks
every `poll_s`. Publishes of releases that write no events show as other versions of the documents.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from api.documents.shared_call import SharedCall
from api.events.framing import WHOLE, Place
from api.events.query import DOCUMENT
from api.events.told import LOST_LOG, UNKNOWN_ID, Told, lost, published, read_entry
from cache_manager import PUBLISHED, meta_key
from documents.meta import read_meta_text
from documents.names import SERVED
from logging_setup import OutageLog
from stores.hot.event_log import LOG, MOST_EVENTS, Entry, EventLog, Position, Reading
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, StoreUnavailable
from stores.hot.subscription import Subscription
from timing.backoff import Backoff

_FIRST_PAUSE_S: Final = 0.1
_SLOWEST_S: Final = 2.0  # between attempts while the store is away

log = structlog.get_logger(__name__)


def _position(told: Told) -> Position:
    assert told.position is not None  # noqa: S101 - each comes from the log
    return told.position


_META_KEYS: Final = {meta_key(name): name for name in SERVED}


class EventReader:
    """Follows the log while `is_wanted`; needs a running event loop.

    `on_batch` gets new events, in their order, in the very step in which they join the log in
    memory: who joins the listeners afterwards finds them there.
    """

    def __init__(
        self,
        store: HotStore,
        *,
        poll_s: float,
        is_wanted: Callable[[], bool],
        on_batch: Callable[[Sequence[Told]], None],
    ) -> None:
        self._store = store
        self._log = EventLog(store)
        self._poll_s = poll_s
        self._is_wanted = is_wanted
        self._on_batch = on_batch
        self._told: list[Told] = []  # ascending, all of the log
        # Documents whose newest version the log does not tell.
        self._outside: dict[str, Told] = {}
        self._versions: dict[str, int] = {}  # that were told last; 0: no document
        self._pause_ends_s: float | None = None  # by the loop's clock
        self._has_read = False  # the whole log
        self._is_lost = False
        self._wakeup = asyncio.Event()
        self._refresh = SharedCall(self._read)
        self._following: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscription] = []
        self._outage = OutageLog(log, "event_log_unreadable", "event_log_readable_again")
        self.position: Position | None = None  # of the newest entry

    async def make_ready(self, place: Place | None) -> None:
        """Reads the log, unless it is being followed and reaches to the place. Raises
        StoreUnavailable."""
        is_behind = place is not None and (self.position is None or place.position > self.position)
        if not self._has_read or not self._is_wanted() or is_behind:
            await self._refresh()

    def since(self, place: Place | None) -> list[Told]:
        """What a listener that has all up to `place` has not been told, a reset first if the log
        does not have that entry."""
        if place is None:
            return [lost(self.position, UNKNOWN_ID)]
        at = bisect_left(self._told, place.position, key=_position)
        if at == len(self._told) or self._told[at].position != place.position:
            return [lost(self.position, UNKNOWN_ID)]
        rest = [] if place.number == WHOLE else [self._told[at].resumed(place.number)]
        return [*rest, *self._told[at + 1 :], *self._outside.values()]

    def follow(self) -> None:
        """Looks soon, and begins to follow the log; call it when listeners have come."""
        self._wakeup.set()
        if self._following is not None:
            return
        self._following = asyncio.create_task(self._follow(), name="event reader")
        store = self._store
        if isinstance(store, NativeStore):
            for channel in (LOG, PUBLISHED):
                subscription = Subscription(
                    store,
                    store.channel(channel),
                    on_message=lambda _: self._wakeup.set(),
                    on_connected=self._wakeup.set,
                )
                subscription.start()
                self._subscriptions.append(subscription)

    async def aclose(self) -> None:
        """Ends the reader; those who wait for it get StoreUnavailable."""
        for subscription in self._subscriptions:
            await subscription.aclose()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._refresh.aclose()

    async def _follow(self) -> None:
        backoff = Backoff(_FIRST_PAUSE_S, _SLOWEST_S)
        while True:
            if not self._is_wanted():
                self._wakeup.clear()
                await self._wakeup.wait()
                continue
            try:
                await self._refresh()
            except StoreUnavailable as error:
                self._outage.failed(error)
                await asyncio.sleep(backoff.pause_s())
                continue
            except Exception:
                log.exception("event_log_not_read")
                await asyncio.sleep(backoff.pause_s())
                continue
            self._outage.recovered()
            backoff.reset()
            await self._wait()

    async def _wait(self) -> None:
        """Returns when it is time to look again."""
        if not self._subscriptions:
            await asyncio.sleep(self._poll_s)
            return
        wait_s = self._poll_s
        if self._pause_ends_s is not None:
            left_s = self._pause_ends_s - asyncio.get_running_loop().time()
            wait_s = min(wait_s, max(0.0, left_s))
        try:
            async with asyncio.timeout(wait_s):
                await self._wakeup.wait()
        except TimeoutError:
            return
        self._wakeup.clear()

    async def _read(self) -> None:
        """Reads up to the end of the log."""
        while True:
            versions = {
                key: str(self._versions.get(name) or "") for key, name in _META_KEYS.items()
            }
            reading = await self._log.read(self.position, versions)
            self._take(reading)
            if reading.is_whole:
                return

    def _take(self, reading: Reading) -> None:
        if reading.is_gap:
            log.warning("events_lost", position=str(self.position))
            self._is_lost |= self._has_read  # it may be lost again before all of it is read
            self._has_read = False
            self.position = None
            self._told, self._outside, self._versions = [], {}, {}
        batch = [self._next(entry) for entry in reading.entries]
        self._told += batch
        del self._told[:-MOST_EVENTS]
        if reading.is_whole:
            batch += self._published_outside(reading)
        if self._has_read:
            self._tell(batch)
        elif reading.is_whole:
            # What had happened before is told to nobody, but that something was lost.
            self._has_read = True
            if self._is_lost:
                self._tell([lost(self.position, LOST_LOG)])
                self._is_lost = False
        ends_ms = reading.pause_ends_ms
        now_s = asyncio.get_running_loop().time()
        self._pause_ends_s = None if ends_ms is None else now_s + ends_ms / 1000

    def _next(self, entry: Entry) -> Told:
        told = read_entry(entry, self._store.prefix, self._versions)
        self.position = entry.at
        if told is None:
            return Told(entry.at, "")  # its place is kept, for those who go on from it
        if told.kind == DOCUMENT:
            self._versions[told.name] = told.version
            self._outside.pop(told.name, None)
        return told

    def _tell(self, batch: Sequence[Told]) -> None:
        if batch:
            self._on_batch(batch)

    def _published_outside(self, reading: Reading) -> list[Told]:
        """The documents whose version is not the one that was told last."""
        found = []
        for key, name in _META_KEYS.items():
            if key not in reading.metas:
                continue
            meta = read_meta_text(name, reading.metas[key])
            known, version = self._versions.get(name), 0 if meta is None else meta.version
            self._versions[name] = version
            if meta is None or version == known:
                continue
            data = {"name": name, "version": version, "as_of": meta.as_of_ms}
            told = published({**data, "updated_at": meta.updated_at_ms})
            if told is not None and known is not None:
                self._outside[name] = told
                found.append(told)
        for name in SERVED:
            self._versions.setdefault(name, 0)
        return found
