"""Broadcast: writes events to all listeners of a process, each event's bytes made once per filter.

A listener is behind while its own task sends it what it missed, at the pace of its client; then
chunks are written to its connection directly, and shared by all that want the same. A client that
does not take them is disconnected, and goes on later by the id of the last event that it got.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from api.answers import Connection, as_chunk
from api.bytes_in_flight import BytesInFlight
from api.events.changes_cache import ChangesCache
from api.events.framing import beat
from api.events.query import EventFilter
from api.events.told import Told
from documents.changes import ReadChanges
from logging_setup import ThrottledLog
from stores.hot.event_log import MOST_EVENTS, Position
from stores.hot.store import StoreUnavailable
from timing.backoff import Backoff

BEAT_S: Final = 15.0
_SLOTS: Final = 15  # parts of that time, each with its part of the listeners
# What one listener may leave unread when further events come; a larger event is sent alone.
MOST_UNREAD: Final = 2**20
PART: Final = 8  # all listeners together may hold this part of MAX_BYTES_IN_FLIGHT
_AT_ONCE: Final = 200  # listeners written to before others may use the event loop
_HOLDER: Final = "listeners of events"

_PATIENCE_S: Final = 30.0  # while the store does not give what a version has changed
_MOST_LARGE: Final = 4 * 2**20  # bytes of chunks kept for listeners that come back together

log = structlog.get_logger(__name__)
throttled = ThrottledLog(log)


class Listener:
    """A connection that wants events. `backlog`: what its own task has still to send; None once
    it gets events directly. `at`: all up to there has been told."""

    __slots__ = ("at", "backlog", "client", "connection", "is_ended", "slot", "wanted")

    def __init__(
        self,
        connection: Connection,
        wanted: EventFilter,
        client: str,
        backlog: Iterable[Told],
        at: Position | None,
    ) -> None:
        self.connection = connection
        self.wanted = wanted
        self.client = client
        self.backlog: deque[Told] | None = deque(backlog)
        self.at = at
        self.slot = 0
        self.is_ended = False

    def end(self) -> None:
        """Ends the stream; its task notices by the disconnect."""
        self.is_ended = True
        self.backlog = None
        self.connection.end_stream()


class Broadcast:
    """The listeners of a process. Needs a running event loop; `aclose` ends all listeners."""

    def __init__(self, changes: ChangesCache, in_flight: BytesInFlight) -> None:
        self._changes = changes
        self._in_flight = in_flight
        self._most_bytes = in_flight.most // PART
        self._unread = in_flight.hold(_HOLDER, {_HOLDER: 0})
        self._slots: list[dict[Listener, None]] = [{} for _ in range(_SLOTS)]
        self._slot = 0
        self._count = 0
        self._clients: Counter[str] = Counter()
        self._batches: deque[tuple[Sequence[Told], Sequence[Listener]]] = deque()
        self._queued = asyncio.Event()
        self._large: dict[tuple[Told, EventFilter], bytes] = {}
        self._large_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.is_closed = False

    def __len__(self) -> int:
        return self._count

    def of_client(self, client: str) -> int:
        """How many listeners the client has."""
        return self._clients[client]

    def add(self, listener: Listener) -> None:
        """Takes part from now on in every batch."""
        listener.slot = self._slot
        self._slots[listener.slot][listener] = None
        self._clients[listener.client] += 1
        self._count += 1
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._write_batches(), name="event writer"),
                asyncio.create_task(self._beat(), name="event comments"),
            ]

    def remove(self, listener: Listener) -> None:
        listener.is_ended = True
        if self._slots[listener.slot].pop(listener, self) is self:
            return
        self._count -= 1
        self._clients[listener.client] -= 1
        if not self._clients[listener.client]:
            del self._clients[listener.client]

    def put(self, batch: Sequence[Told]) -> None:
        """Queues the events for those who listen now."""
        listeners = self._listeners()
        if listeners:
            self._batches.append((batch, listeners))
            self._queued.set()

    async def chunk_of(self, told: Told, wanted: EventFilter) -> bytes:
        """What a listener that is behind gets of this entry."""
        if not told.needs_changes(wanted):
            return _chunk([told], wanted, {})
        key = (told, wanted)
        chunk = self._large.get(key)
        if chunk is None:
            changes = await self._changes_for(told)
            chunk = _chunk([told], wanted, {told: changes})
            if key not in self._large:
                self._keep_large(key, chunk)
        return chunk

    def _keep_large(self, key: tuple[Told, EventFilter], chunk: bytes) -> None:
        self._large[key] = chunk
        self._large_bytes += len(chunk)
        while self._large_bytes > _MOST_LARGE and len(self._large) > 1:
            self._large_bytes -= len(self._large.pop(next(iter(self._large))))

    async def _changes_for(self, told: Told) -> ReadChanges | None:
        """The changes of its version; None if the store has them no longer, or is away for long."""
        backoff = Backoff(0.1, 2.0)
        began_s = asyncio.get_running_loop().time()
        while True:
            try:
                return await self._changes.get(told.name, told.version)
            except StoreUnavailable as error:
                if asyncio.get_running_loop().time() - began_s > _PATIENCE_S:
                    log.warning("changes_not_read", document=told.name, error=str(error))
                    return None
                await asyncio.sleep(backoff.pause_s())

    async def aclose(self) -> None:
        """Ends all listeners, and lets nobody join."""
        self.is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners():
            listener.end()
        self._unread.release()

    def _listeners(self) -> list[Listener]:
        return [listener for slot in self._slots for listener in slot]

    async def _write_batches(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._batches:
                batch, listeners = self._batches.popleft()
                try:
                    await self._write(batch, listeners)
                except Exception:
                    log.exception("events_not_written")
                    for listener in listeners:  # each goes on behind what it has
                        listener.end()

    async def _write(self, batch: Sequence[Told], listeners: Sequence[Listener]) -> None:
        """Every listener gets the batch once: into its backlog, or written."""
        changes = await self._changes_of(batch, {listener.wanted for listener in listeners})
        chunks: dict[EventFilter, bytes] = {}
        at = next((told.position for told in reversed(batch) if told.position is not None), None)
        unread = _Unread()
        for number, listener in enumerate(listeners, 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if listener.is_ended:
                continue
            if listener.backlog is not None:
                listener.backlog.extend(batch)
                unread.total += listener.connection.unsent_bytes()
                if len(listener.backlog) > 2 * MOST_EVENTS or unread.total > self._most_bytes:
                    self._cut(listener)
                continue
            wanted = listener.wanted
            chunk = chunks.get(wanted)
            if chunk is None:
                chunk = chunks[wanted] = _chunk(batch, wanted, changes)
            listener.at = at or listener.at
            if chunk:
                self._send(listener, chunk, unread)
        self._in_flight.weigh(_HOLDER, unread.total)

    async def _changes_of(
        self, batch: Sequence[Told], filters: set[EventFilter]
    ) -> dict[Told, ReadChanges | None]:
        found: dict[Told, ReadChanges | None] = {}
        for told in batch:
            if any(told.needs_changes(wanted) for wanted in filters):
                found[told] = await self._changes_for(told)
        return found

    def _send(self, listener: Listener, chunk: bytes, unread: "_Unread") -> None:
        """Writes the chunk, or disconnects a client that has left too much unread, or more than
        there is room for beside what `unread` counts of the others."""
        left = listener.connection.unsent_bytes()
        if left:
            more = unread.more(listener.wanted, left)
            if left + len(chunk) > MOST_UNREAD or unread.total + more > self._most_bytes:
                self._cut(listener)
                return
            unread.add(listener.wanted, left)
        listener.connection.write_chunk(chunk)

    def _cut(self, listener: Listener) -> None:
        throttled.info("slow_listeners_disconnected", client=listener.client)
        listener.end()

    async def _beat(self) -> None:
        """Sends every listener a comment in each BEAT_S."""
        while True:
            await asyncio.sleep(BEAT_S / _SLOTS)
            self._slot = (self._slot + 1) % _SLOTS
            chunks: dict[Position | None, bytes] = {}
            unread = _Unread()
            for number, listener in enumerate(list(self._slots[self._slot]), 1):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                if listener.backlog is not None or listener.is_ended:
                    continue
                at = listener.at
                if at not in chunks:
                    chunks[at] = as_chunk(beat(at))
                self._send(listener, chunks[at], unread)


class _Unread:
    """The bytes that listeners have left unread. Those with one filter were sent the same, so that
    the most of any of them is the memory of all."""

    def __init__(self) -> None:
        self.total = 0
        self._most: dict[EventFilter, int] = {}

    def more(self, wanted: EventFilter, left: int) -> int:
        """What a listener with so much unread adds."""
        return max(0, left - self._most.get(wanted, 0))

    def add(self, wanted: EventFilter, left: int) -> None:
        more = self.more(wanted, left)
        if more:
            self.total += more
            self._most[wanted] = left


def _chunk(
    batch: Sequence[Told], wanted: EventFilter, changes: dict[Told, ReadChanges | None]
) -> bytes:
    events = b"".join(told.events(wanted, changes.get(told)) for told in batch)
    return as_chunk(events) if events else b""
