"""The budgets and pauses that all processes behind one address share, kept in the hot store.

A process takes blocks of room rather than one request's at a time, and may use a block until the
slot in which it was taken ends. A pause is told to the others at once, where they can listen, and
else with the next block. Time is the store's own, so hosts need not agree on it. While the store
is away each process keeps to its own budget alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from logging_setup import OutageLog
from market.markets import Exchange
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, StoreUnavailable
from stores.hot.subscription import Subscription
from timing.clock import Clock
from venues.venue import Limit

SLOTS: Final = 20  # of a window: what is taken becomes free in such steps
# Taken room is held for one window after its slot has ended, and for one slot more: so late may
# the exchange count what was sent at the end of it.
HELD_SLOTS: Final = SLOTS + 2
_LEAVE_STORE_S: Final = 5.0  # after it failed

log = structlog.get_logger(__name__)

# KEYS: the counter's slots (a hash: number of the slot -> taken in it), the exchange's pause.
# ARGV: quantity, slot ms, slots held, room needed, room wanted, room left unused, its slot.
# Reply: room given, ms for which it may be used or after which to ask again, ms of pause left,
# its cause, the slot. Both scripts begin with a write that a full store allows, after which that
# takes the others, too: processes that do not share their budgets get an address banned.
_TAKE: Final = """
local paused = redis.call('PTTL', KEYS[2])
if paused > 0 then return {0, 0, paused, redis.call('GET', KEYS[2]), 0} end
local quantity, slot_ms, held = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slot = math.floor(now / slot_ms)
redis.call('HDEL', KEYS[1], '')
if tonumber(ARGV[6]) > 0 and redis.call('HEXISTS', KEYS[1], ARGV[7]) == 1 then
  redis.call('HINCRBY', KEYS[1], ARGV[7], -tonumber(ARGV[6]))
end
local used, oldest = 0, slot
local taken = redis.call('HGETALL', KEYS[1])
for i = 1, #taken, 2 do
  local number = tonumber(taken[i])
  if number <= slot - held or tonumber(taken[i + 1]) <= 0 then redis.call('HDEL', KEYS[1], taken[i])
  else used = used + taken[i + 1]; oldest = math.min(oldest, number) end
end
local room = math.max(quantity - used, used == 0 and tonumber(ARGV[4]) or 0)
if room < tonumber(ARGV[4]) then return {0, (oldest + held) * slot_ms - now, 0, '', slot} end
local given = math.min(room, tonumber(ARGV[5]))
redis.call('HINCRBY', KEYS[1], slot, given)
redis.call('PEXPIRE', KEYS[1], slot_ms * (held + 1))
return {given, (slot + 1) * slot_ms - now, 0, '', slot}
"""

# KEYS: the exchange's pause. ARGV: ms, cause, channel, exchange. A shorter pause never cuts a
# longer one. Returns the ms that are left of it, and tells all who listen.
_PAUSE: Final = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
  redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2])
end
return redis.call('PTTL', KEYS[1])
"""

Hear = Callable[[Exchange, float, str], None]


@dataclass(frozen=True, slots=True)
class Room:
    """`room` that may be used for `for_s`; or none, and when to ask again or how long to pause."""

    room: int
    for_s: float
    paused_s: float = 0.0
    cause: str = ""
    slot: int = 0


@dataclass(slots=True)
class _Block:
    """The room taken last: what is `left` of it, in which `slot`, and what that slot was used for.

    `size` doubles while blocks are used up in time; a new slot begins with as much as the last
    one needed.
    """

    left: int = 0
    slot: int = 0
    until: float = 0.0
    size: int = 1
    used: int = 0


class SharedBudgets:
    """The view of one process on the budgets that `egress_id`, one public address, has."""

    def __init__(self, store: HotStore, egress_id: str, clock: Clock) -> None:
        self._store = store
        self._take = store.script(_TAKE)
        self._pause = store.script(_PAUSE)
        self._egress_id = egress_id
        self._clock = clock
        self._blocks: dict[tuple[Exchange, str], _Block] = {}
        self._alone_until = -math.inf
        self._outage = OutageLog(log, "budgets_not_shared", "budgets_shared_again")
        self._untold: dict[Exchange, tuple[float, str]] = {}  # pauses the store did not take
        self._channel = f"paused:{egress_id}"
        self._subscription: Subscription | None = None

    def listen(self, hear: Hear) -> None:
        """Calls `hear` with (exchange, seconds, cause) as soon as another process pauses one.

        Over REST nobody can listen: there pauses are seen with the next block.
        """
        if self._subscription is not None or not isinstance(self._store, NativeStore):
            return

        def told(message: bytes) -> None:
            exchange, duration_ms, cause = message.decode().split(" ", 2)
            hear(Exchange(exchange), int(duration_ms) / 1000, cause)

        self._subscription = Subscription(
            self._store, self._channel, on_message=told, on_connected=self._ask_anew
        )
        self._subscription.start()

    async def aclose(self) -> None:
        """Listens no longer."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.aclose()

    def _ask_anew(self) -> None:
        """What was told until now may have been missed: no block in hand counts any more."""
        for block in self._blocks.values():
            block.until = -math.inf

    async def cover(
        self, exchange: Exchange, counter: str, limit: Limit, quantity: int, weight: int
    ) -> Room:
        """Room for one request of `weight`, from the block in hand or from a new one."""
        block = self._blocks.setdefault((exchange, counter), _Block())
        now = self._clock.monotonic_s()
        if now < self._alone_until:
            return Room(weight, limit.window_s)
        in_time = now < block.until
        if in_time and block.left >= weight:
            block.left -= weight
            block.used += weight
            return Room(weight, block.until - now)
        largest = max(1, quantity // SLOTS)
        block.size = min(largest, 2 * block.size if in_time else max(1, block.used))
        if not in_time:
            block.used = 0
        unused, block.left = block.left, 0
        answer = await self.take(
            exchange,
            counter,
            limit,
            quantity,
            weight,
            max(weight, block.size),
            unused=unused,
            unused_slot=block.slot,
        )
        if answer.room:
            block.left, block.slot = answer.room - weight, answer.slot
            block.until = now + answer.for_s
            block.used += weight
        return answer

    async def take(
        self,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
        need: int,
        want: int,
        *,
        unused: int = 0,
        unused_slot: int = 0,
    ) -> Room:
        """Asks the store for `want`, at least `need`; without the store the answer is yes.

        `unused` room of an earlier answer, taken in `unused_slot`, is given back.
        """
        slot_ms = round(limit.window_s * 1000 / SLOTS)
        keys = [self._key("budget", f"{exchange}:{counter}"), self._key("pause", exchange)]
        try:
            room, wait_ms, paused_ms, cause, slot = await self._take.run(
                keys, [quantity, slot_ms, HELD_SLOTS, need, want, unused, unused_slot]
            )
        except StoreUnavailable as error:
            self._alone(error)
            return Room(need, 0.0)
        self._outage.recovered()
        return Room(int(room), wait_ms / 1000, paused_ms / 1000, bytes(cause).decode(), int(slot))

    async def pause(self, exchange: Exchange, duration_s: float, cause: str) -> None:
        """Tells every process behind this address, now or when the store is back."""
        self._untold[exchange] = (self._clock.monotonic_s() + duration_s, cause)
        await self.tell_again(exchange)

    async def tell_again(self, exchange: Exchange) -> None:
        """Tells of a pause that could not be told when it began."""
        now = self._clock.monotonic_s()
        pause = self._untold.get(exchange)
        if pause is None or now < self._alone_until:
            return
        until, cause = pause
        duration_ms = round((until - now) * 1000)
        words: list[str | int] = [duration_ms, cause, self._channel, exchange]
        try:
            if duration_ms > 0:
                await self._pause.run([self._key("pause", exchange)], words)
        except StoreUnavailable as error:
            self._alone(error)
        else:
            if self._untold.get(exchange) == pause:
                del self._untold[exchange]

    def _alone(self, error: StoreUnavailable) -> None:
        self._outage.failed(error)
        self._alone_until = self._clock.monotonic_s() + _LEAVE_STORE_S

    def _key(self, kind: str, what: str) -> str:
        return f"{kind}:{self._egress_id}:{what}"
