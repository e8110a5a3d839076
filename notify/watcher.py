"""The watcher: one process of all looks for problems, decides what is told, and has it sent.

It holds the lease `notify`. While the hot store is away, the last holder goes on from memory: then
it alone tells that the store is away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from logging_setup import OutageLog
from notify.decisions import (
    Message,
    Reason,
    Sending,
    due,
    followed,
    forgotten,
    messages,
    of_store_away,
    told,
)
from notify.memory import Memory
from notify.outbox import Outbox
from notify.rules import MINUTE_S, Rules
from notify.stand_in import Lock, StandIn
from notify.texts import Writer
from status.problem import Problem, ProblemKind
from stores.hot.leases import Lease, LeaseLost, new_nonce, try_acquire
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import Backoff, stop_or
from timing.clock import Clock, SystemClock

NAME: Final = "notify"
# By kind of store: over Upstash every command is billed. There the holder looks once a minute and
# renews its lease every 100 s, and others try to take it every 5 minutes.
LOOKS_EVERY_S: Final = {"native": 5.0, "upstash": 60.0}
TRIES_EVERY_S: Final = {"native": 5.0, "upstash": 300.0}
TTL_S: Final = {"native": 15.0, "upstash": 300.0}
_LOOK_S: Final = 10.0  # for a look
_MOST_PROBLEMS: Final = 500
_STOPS_WITHIN_S: Final = 0.5  # for messages that are being sent
_RETRY_S: Final = (5.0, 300.0)  # after a message that nobody took

Look = Callable[[], Awaitable[Sequence[Problem]]]
log = structlog.get_logger(__name__)


class Watcher:
    """Looks, decides and sends, until stopped."""

    def __init__(
        self,
        store: HotStore,
        look: Look,
        outbox: Outbox,
        *,
        rules: Rules,
        writer: Writer,
        holder: str,
        clock: Clock | None = None,
        ttl_s: float | None = None,
        lock: Lock | None = None,
    ) -> None:
        """`look` finds the problems, the worst first, STORE_AWAY among them; `holder` is this
        process's name, `ttl_s` the time after which a dead one is replaced; `lock`: see StandIn."""
        self._store = store
        self._look = look
        self._outbox = outbox
        self._rules = rules
        self._writer = writer
        self._holder = holder
        self._clock = clock or SystemClock()
        self._ttl_s = ttl_s or TTL_S[store.kind]
        self._nonce = new_nonce()
        self._lease: Lease | None = None
        self._memory = Memory(store)
        self._stand_in = StandIn(lock, self._clock)
        self._saving = asyncio.Lock()
        self._in_flight: dict[asyncio.Task[None], Message] = {}
        self._sent_at_s: list[float] = []  # within the last minute
        self._backoff = Backoff(*_RETRY_S)
        self._not_before_s = float("-inf")
        self._outage = OutageLog(log, "watch_failed", "watch_restored")

    async def run(self, stop: asyncio.Event) -> None:
        """Watches until `stop`; raises nothing of stores and of what is looked at."""
        try:
            while not stop.is_set():
                watches = await self.step()
                pauses = LOOKS_EVERY_S if watches else TRIES_EVERY_S
                await stop_or(stop, pauses[self._store.kind], self._clock)
        finally:
            await self._end()

    async def step(self) -> bool:
        """One look, if this process is the one that watches; returns whether it is."""
        try:
            if not await self._watches():
                self._outage.recovered()
                return False
            async with asyncio.timeout(_LOOK_S):
                problems = await self._look()
        except (StoreUnavailable, TimeoutError) as error:
            if self._memory.is_loaded:
                self._outage.failed(error)
            else:  # others tell that the store is away
                log.debug("watch_not_begun", error=str(error))
            return True
        except Exception:
            log.exception("look_failed")
            return True
        now_ms = self._clock.wall_ms()
        found = list(problems)[:_MOST_PROBLEMS]
        if not self.holds_lease and not any(p.kind is ProblemKind.STORE_AWAY for p in found):
            return True  # the store is back: the lease first, which another may have by now
        if self._memory.is_stand_in:  # what else was told before, nobody here knows
            found = [each for each in found if each.kind is ProblemKind.STORE_AWAY]
        self._memory.record = followed(self._memory.record, found, self._rules, now_ms)
        self._tell(now_ms)
        if await self._save():
            self._outage.recovered()
        return True

    async def settled(self) -> None:
        """Waits for the end of all that is being sent."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    @property
    def holds_lease(self) -> bool:
        """Whether this process is the one that watches, by its own clock."""
        return self._lease is not None and self._lease.held

    async def _watches(self) -> bool:
        """Whether this process holds the lease, or the store is away and it was the last holder, or
        stands in for that. Raises StoreUnavailable if it does not tell of that."""
        if self.holds_lease and self._memory.is_loaded:
            return True
        try:
            if not self.holds_lease:
                self._lease = await try_acquire(
                    *(self._store, NAME),
                    holder=self._holder,
                    ttl_s=self._ttl_s,
                    nonce=self._nonce,
                )
            if self._lease is not None:
                await self._memory.load(self._lease)
        except StoreUnavailable as error:
            if self._memory.is_loaded:
                await self._stand_in.keep_others_away()
            elif await self._stand_in.is_called():
                log.warning("watch_stood_in_for", holder=self._holder, error=str(error))
                self._memory.stand_in()
            else:
                raise
            self._outage.failed(error)
            return True
        await self._stand_in.store_is_back()
        if self._lease is not None:
            log.info("watching", holder=self._holder)
            return True
        if self._memory.is_loaded:
            self._hand_over()
        return False

    def _hand_over(self) -> None:
        """Another watches now. It does not know that the store was away from here."""
        now_ms = self._clock.wall_ms()
        own = of_store_away(followed(self._memory.record, (), self._rules, now_ms))
        ends = [Sending(Reason.ENDED, known) for known in own.values()]
        self._memory = Memory(self._store)
        if ends and self._outbox.destinations:
            self._send(Message(Reason.ENDED, ends))
        log.info("watching_ended", holder=self._holder)

    def _tell(self, now_ms: int) -> None:
        """Sends what is due, within the limit of messages."""
        if not self._outbox.destinations:
            self._memory.record = forgotten(self._memory.record)
            return
        now_s = self._clock.monotonic_s()
        self._sent_at_s = [at_s for at_s in self._sent_at_s if now_s - at_s < MINUTE_S]
        if now_s < self._not_before_s:
            return
        being_sent = {one.id for message in self._in_flight.values() for one in message.sendings}
        found = due(self._memory.record, self._rules, now_ms, without=being_sent)
        for message in messages(found, self._rules.most - len(self._sent_at_s)):
            self._send(message)

    def _send(self, message: Message) -> None:
        self._sent_at_s.append(self._clock.monotonic_s())
        task = asyncio.create_task(self._deliver(message), name=f"notify {message.reason}")
        self._in_flight[task] = message
        task.add_done_callback(self._in_flight.pop)

    async def _deliver(self, message: Message) -> None:
        try:
            await self._deliver_or_wait(message)
        except Exception:
            self._not_before_s = self._clock.monotonic_s() + self._backoff.pause_s()
            log.exception("notifying_failed")

    async def _deliver_or_wait(self, message: Message) -> None:
        text = self._writer.text_of(message, self._clock.wall_ms())
        problems = [sending.id for sending in message.sendings]
        log.info("notifying", reason=str(message.reason), problems=problems)
        if not await self._outbox.send(text):
            self._not_before_s = self._clock.monotonic_s() + self._backoff.pause_s()
            return
        self._backoff.reset()
        now_ms = self._clock.wall_ms()
        self._memory.record = told(self._memory.record, message.sendings, now_ms)
        await self._save()

    async def _save(self) -> bool:
        """Writes the record. While the store is away it stays in memory."""
        lease = self._lease
        if lease is None or not lease.held or not self._memory.is_loaded:
            return False
        try:
            async with self._saving:
                await self._memory.save(lease)
            return True
        except LeaseLost as error:
            log.warning("problems_not_kept", error=str(error))
        except StoreUnavailable as error:
            self._outage.failed(error)
        return False

    async def _end(self) -> None:
        """Waits a moment for what is being sent, so that the next holder does not send it again,
        and releases the lease."""
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=_STOPS_WITHIN_S)
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*list(self._in_flight), return_exceptions=True)
        await self._outbox.aclose()
        await self._stand_in.store_is_back()
        if self._lease is not None:
            await self._lease.release()
