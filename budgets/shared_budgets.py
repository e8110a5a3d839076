"""Budgets and pauses that all processes at one IP address share through the hot store.

A process takes room in blocks, not per request, and may use a block until the slot in which it
was taken ends (slots.py). Of limits that are counted by market it takes room for each request, by
one command for all that wait. Other processes learn of a pause at once by pub/sub, or over REST
with their next block. The store's clock counts, so hosts need not agree on the time. While the
store is unavailable each process keeps to its own budget alone.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog

from budgets.proxies import pause_key
from budgets.slots import (
    TAKE,
    budget_key,
    largest_block,
    parts_of,
    reply_of_take,
    slot_ms_of,
    slots_of,
)
from logging_setup import OutageLog
from market.markets import Exchange
from stores.hot.event_log import BEGIN_PAUSE, LOG, PAUSES
from stores.hot.redis_client import NativeStore
from stores.hot.replies import whole_number
from stores.hot.store import HotStore, StoreUnavailable
from stores.hot.subscription import Subscription
from timing.clock import Clock
from venues.venue import Limit

_STORE_PAUSE_S: Final = 5.0  # without the store after it failed
_ASK_AGAIN_S: Final = 0.2  # after the store gave less than was wanted: what is free comes together
_LATEST_S: Final = 1.0  # after its slot has ended, room that comes from the store is not used
_MOST_TOGETHER: Final = 64  # markets that one command takes room for

log = structlog.get_logger(__name__)

# KEYS: the log of events, its pauses, the exchange's pause, the mark of a lifted one. ARGV: ms,
# cause, channel, exchange, egress id. Sets and tells the pause unless a longer one is set. Returns
# the ms left of the pause.
_PAUSE: Final = (
    BEGIN_PAUSE
    + """
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[3], KEYS[4])
  redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[1])
  redis.pcall('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2])
  begin_pause(KEYS[1], KEYS[2], ARGV[5], ARGV[4], tonumber(ARGV[1]), ARGV[2])
end
return redis.call('PTTL', KEYS[3])
"""
)

# lifted(mark): whether the pause that lasts was lifted.
_LIFTED: Final = "return redis.call('EXISTS', KEYS[1])"
# The cause in the message that a pause was lifted, whose length is 0.
LIFTED: Final = "lifted"
# How often a paused process looks, beside that message, whether its pause was lifted.
_LOOK_EVERY_S: Final = {"native": 5.0, "upstash": 30.0}

OnPause = Callable[[Exchange, float, str], None]


@dataclass(frozen=True, slots=True)
class Grant:
    """Room valid for `valid_s` s; if `room` is 0, `valid_s` or `paused_s` is the wait."""

    room: int
    valid_s: float
    paused_s: float = 0.0
    cause: str = ""
    slot: str = ""


@dataclass(slots=True)
class _Block:
    """The room taken last: `left` of it, its `slot`, its end, and how much that slot used.

    `size` doubles while blocks are used up before they expire; a new slot begins with the amount
    that the last one used. `ask_at`: nothing is taken before. `counted`: of requests that were
    answered, when they are out of every window, their slot and weight; ascending.
    """

    left: int = 0
    slot: str = ""
    until: float = 0.0
    size: int = 1
    used: int = 0
    ask_at: float = 0.0
    counted: deque[tuple[float, str, int]] = field(default_factory=deque)

    def take_back(self, now: float) -> Counter[str]:
        """The room that the store gets back now, by slot: what is left of this block, and what
        requests took that are out of every window, as their answers tell."""
        back = Counter({self.slot: self.left} if self.left else {})
        self.left = 0
        while self.counted and self.counted[0][0] <= now:
            _, slot, weight = self.counted.popleft()
            back[slot] += weight
        return back


@dataclass(slots=True, eq=False)
class _Wish:
    """Room that a request about a market waits for."""

    market: str
    weight: int
    grant: Grant | None = None


@dataclass(slots=True)
class _Line:
    """Those that wait for room of a limit by market; who has `lock` asks for all."""

    wishes: list[_Wish] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SharedBudgets:
    """One process's access to the budgets of `egress_id`, which stands for one public address.

    `behind_proxies`: the names of other addresses, from which these exchanges are asked.
    """

    def __init__(
        self,
        store: HotStore,
        egress_id: str,
        clock: Clock,
        behind_proxies: Mapping[Exchange, str] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._take = store.script("take_room", TAKE)
        self._pause = store.script("pause", _PAUSE)
        self._lifted = store.script("lifted", _LIFTED)
        self._look_at: dict[Exchange, float] = {}  # for a lifted pause
        self._egress_ids = {each: behind_proxies.get(each, egress_id) for each in Exchange}
        self._clock = clock
        self._blocks: dict[tuple[Exchange, str], _Block] = {}
        self._lines: dict[tuple[Exchange, str], _Line] = {}
        self._local_until = -math.inf
        self._outage = OutageLog(log, "budgets_not_shared", "budgets_shared_again")
        self._unsent_pauses: dict[Exchange, tuple[float, str]] = {}  # not stored yet
        self._channels = {
            each: pause_channel(store, name) for each, name in self._egress_ids.items()
        }
        self._subscriptions: list[Subscription] = []

    def listen(self, on_pause: OnPause) -> None:
        """Calls `on_pause(exchange, seconds, cause)` when another process pauses an exchange, with
        0 s and LIFTED when a pause was lifted.

        Does nothing over REST, where pauses arrive with the next block.
        """
        if self._subscriptions or not isinstance(self._store, NativeStore):
            return

        def received(channel: str, message: bytes) -> None:
            try:
                exchange, duration_ms, cause = message.decode().split(" ", 2)
                paused, duration_s = Exchange(exchange), int(duration_ms) / 1000
            except ValueError:
                log.warning("pause_message_unreadable", channel=channel)
                return
            if self._channels[paused] == channel:
                if is_lift(duration_s, cause):
                    self._unsent_pauses.pop(paused, None)
                on_pause(paused, duration_s, cause)

        for channel in sorted(set(self._channels.values())):
            subscription = Subscription(
                self._store,
                channel,
                on_message=partial(received, channel),
                on_connected=self._expire_blocks,
            )
            subscription.start()
            self._subscriptions.append(subscription)

    async def aclose(self) -> None:
        """Ends the subscriptions."""
        while self._subscriptions:
            await self._subscriptions.pop().aclose()

    def _expire_blocks(self) -> None:
        """Expires all blocks: a pause may have been missed while disconnected."""
        for block in self._blocks.values():
            block.until = -math.inf

    async def reserve(
        self,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
        weight: int,
        market: str | None = None,
    ) -> Grant:
        """Room for one request of `weight`, from the current block or a new one.

        `market`: that it is about; it matters where the limit is counted by market.
        """
        now = self._clock.monotonic_s()
        if now < self._local_until:
            return Grant(weight, limit.window_s)
        if limit.by_market and market is not None:
            return await self._reserve_of(market, exchange, counter, limit, quantity, weight)
        block = self._blocks.setdefault((exchange, counter), _Block())
        in_time = now < block.until
        if in_time and block.left >= weight:
            block.left -= weight
            block.used += weight
            return Grant(weight, block.until - now, slot=block.slot)
        if now < block.ask_at:
            return Grant(0, block.ask_at - now)
        largest = largest_block(limit, quantity)
        block.size = min(largest, 2 * block.size if in_time else max(1, block.used))
        if not in_time:
            block.used = 0
        want = max(weight, block.size)
        answer = await self.take(
            exchange, counter, limit, quantity, weight, want, back=block.take_back(now)
        )
        if answer.room:
            block.left, block.slot = answer.room, answer.slot
            block.until = now + answer.valid_s
            block.ask_at = now + _ASK_AGAIN_S if answer.room < want else now
            if self._is_late(block.until):
                return Grant(0, 0.0)
            block.left -= weight
            block.used += weight
        return answer

    def answered(
        self,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        slot: str,
        weight: int,
        market: str | None = None,
    ) -> None:
        """A request that took room in this slot was answered: the exchange has counted it.

        `market`: as in `reserve`; room of a market's own is not given back, and must not be given
        to the requests about none.
        """
        block = self._blocks.get((exchange, counter))
        if block is None or not slot or (limit.by_market and market is not None):
            return
        now = self._clock.monotonic_s()
        while block.counted and block.counted[0][0] < now - limit.window_s:
            block.counted.popleft()  # the store holds it no more
        block.counted.append((now + limit.window_s, slot, weight))

    async def _reserve_of(
        self,
        market: str,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
        weight: int,
    ) -> Grant:
        """Room of a limit that is counted by market. One command takes it for all who wait while
        the one before is under way."""
        line = self._lines.setdefault((exchange, counter), _Line())
        wish = _Wish(market, weight)
        line.wishes.append(wish)
        try:
            async with line.lock:
                if wish.grant is None:
                    await self._grant(
                        line.wishes[:_MOST_TOGETHER], exchange, counter, limit, quantity
                    )
        finally:
            line.wishes.remove(wish)
        assert wish.grant is not None  # noqa: S101 - it is the first that has none
        return wish.grant

    async def _grant(
        self,
        wishes: Sequence[_Wish],
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
    ) -> None:
        """Grants them what there is."""
        asked_at = self._clock.monotonic_s()
        grants = await self._run_take(
            exchange,
            counter,
            limit,
            quantity,
            [(wish.market, wish.weight, wish.weight) for wish in wishes],
            {},
        )
        for wish, grant in zip(wishes, grants, strict=True):
            late = grant.room and self._is_late(asked_at + grant.valid_s)
            wish.grant = Grant(0, 0.0) if late else grant

    def _is_late(self, until: float) -> bool:
        """Whether room that was to be used until then comes too late: a request might be counted
        when the store no longer holds its room."""
        return self._clock.monotonic_s() > until + _LATEST_S

    async def take(
        self,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
        need: int,
        want: int,
        *,
        back: Mapping[str, int] = MappingProxyType({}),
    ) -> Grant:
        """Takes `want` from the store, at least `need`; grants `need` if the store is unavailable.

        Gives room `back`, by the slot in which it was taken.
        """
        (grant,) = await self._run_take(
            exchange, counter, limit, quantity, [(None, need, want)], back
        )
        return grant

    async def _run_take(
        self,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
        wishes: Sequence[tuple[str | None, int, int]],
        back: Mapping[str, int],
    ) -> list[Grant]:
        """`wishes`: of each market (None: of the whole limit) what is needed and wanted."""
        egress_id = self._egress_ids[exchange]
        keys = [self._pause_key(exchange)]
        keys += [budget_key(egress_id, exchange, counter, market) for market, _, _ in wishes]
        most = max(max(need, want) for _, need, want in wishes)
        arguments: list[str | int] = [quantity, slot_ms_of(limit), slots_of(limit), parts_of(limit)]
        arguments.append(len(back))
        arguments += [word for slot, room in back.items() for word in (room, slot)]
        arguments += [word for _, need, want in wishes for word in (need, want)]
        try:
            paused_ms, cause, slot, valid_ms, *given = await self._take.run(
                keys, arguments, reply=reply_of_take(most, len(wishes), limit)
            )
        except StoreUnavailable as error:
            self._store_failed(error)
            return [Grant(need, 0.0) for _, need, _ in wishes]
        self._outage.recovered()
        words, name = cause.decode(errors="replace"), slot.decode(errors="replace")
        return [
            Grant(room, (valid_ms if room else wait_ms) / 1000, paused_ms / 1000, words, name)
            for room, wait_ms in zip(given[::2], given[1::2], strict=True)
        ]

    async def pause(self, exchange: Exchange, duration_s: float, cause: str) -> None:
        """Pauses the exchange for all processes at this address, once the store is available."""
        self._unsent_pauses[exchange] = (self._clock.monotonic_s() + duration_s, cause)
        await self.resend_pause(exchange)

    async def resend_pause(self, exchange: Exchange) -> None:
        """Stores a pause that could not be stored when it began."""
        now = self._clock.monotonic_s()
        pause = self._unsent_pauses.get(exchange)
        if pause is None or now < self._local_until:
            return
        until, cause = pause
        duration_ms = round((until - now) * 1000)
        arguments: list[str | int] = [duration_ms, cause, self._channels[exchange], exchange]
        arguments.append(self._egress_ids[exchange])
        try:
            if duration_ms > 0:
                egress_id = self._egress_ids[exchange]
                keys = [LOG, PAUSES, self._pause_key(exchange), lifted_key(egress_id, exchange)]
                await self._pause.run(keys, arguments, reply=whole_number(-2))
        except StoreUnavailable as error:
            self._store_failed(error)
        else:
            if self._unsent_pauses.get(exchange) == pause:
                del self._unsent_pauses[exchange]

    async def was_lifted(self, exchange: Exchange) -> bool:
        """Whether the pause that this process keeps was lifted; the store is asked seldom."""
        now = self._clock.monotonic_s()
        if now < max(self._look_at.get(exchange, -math.inf), self._local_until):
            return False
        self._look_at[exchange] = now + _LOOK_EVERY_S[self._store.kind]
        if exchange in self._unsent_pauses:
            return False  # it has begun since
        try:
            key = lifted_key(self._egress_ids[exchange], exchange)
            return bool(await self._lifted.run([key], reply=whole_number(0, 1)))
        except StoreUnavailable as error:
            self._store_failed(error)
            return False

    def _store_failed(self, error: StoreUnavailable) -> None:
        self._outage.failed(error)
        self._local_until = self._clock.monotonic_s() + _STORE_PAUSE_S

    def _pause_key(self, exchange: Exchange) -> str:
        return pause_key(self._egress_ids[exchange], exchange)


def pause_channel(store: HotStore, egress_id: str) -> str:
    """The channel of pauses at one public address."""
    return store.channel(f"paused:{egress_id}")


def lifted_key(egress_id: str, exchange: Exchange) -> str:
    """The key of the mark that the exchange's pause was lifted; it lasts as long as that had."""
    return f"{pause_key(egress_id, exchange)}:lifted"


def is_lift(duration_s: float, cause: str) -> bool:
    """Whether a message about a pause tells that it was lifted."""
    return duration_s == 0 and cause == LIFTED
