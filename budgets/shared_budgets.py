"""Budgets and pauses that all processes at one IP address share through the hot store.

A process takes room in blocks, not per request, and may use a block until the slot in which it
was taken ends. Other processes learn of a pause at once by pub/sub, or over REST with their next
block. The store's clock counts, so hosts need not agree on the time. While the store is
unavailable each process keeps to its own budget alone.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog

from budgets.proxies import pause_key
from logging_setup import OutageLog
from market.markets import Exchange
from stores.hot.event_log import BEGIN_PAUSE, LOG, PAUSES
from stores.hot.redis_client import NativeStore
from stores.hot.replies import elements, text, whole_number
from stores.hot.store import HotStore, StoreUnavailable
from stores.hot.subscription import Subscription
from timing.clock import Clock
from venues.venue import Limit

SLOTS: Final = 20  # per window: taken room is freed slot by slot
# Longer slots are cut into parts, so that what a close takes is free again soon after the next one
# has begun.
LONGEST_SLOT_S: Final = 3.0
_STORE_PAUSE_S: Final = 5.0  # without the store after it failed

log = structlog.get_logger(__name__)

# Part of scripts, after slot_ms, slots and parts: the slot of now, when it ends, and when the room
# taken in a slot is free again (nil if it is none).
SLOTS_OF_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = math.floor(now / slot_ms)
local slot, ends = string.format('%.0f', number), (number + 1) * slot_ms
if parts > 1 then
  local part = math.floor(now % slot_ms * parts / slot_ms) + 1
  slot, ends = slot .. '.' .. string.rep('0', part), (number + part / parts) * slot_ms
end
local longest = (slots + 2) * slot_ms
local function freed(name)
  local n, zeros = string.match(name, '^(%d+)%.?(0*)$')
  if not n or #zeros > parts then return nil end
  local length, last = slot_ms, n + 1
  if zeros ~= '' then length, last = slot_ms / parts, n + #zeros / parts end
  return last * slot_ms + slots * slot_ms + length
end
"""

# KEYS: the counter's slots (a hash: slot -> room taken in it), the exchange's pause.
# ARGV: quantity, slot ms, slots in a window, parts of a slot, room needed, room wanted, unused
# room, its slot.
# A slot is named by its number, and, if it has parts, by as many zeros after a point: 812.000 ends
# after three parts of slot 812. Releases that know no parts read it as the number 812. Taken room
# is held for one window, and for as long as its slot lasts, after the slot ends: the exchange may
# count a request sent at the slot's end that late.
# Others may write to the store: a counter of another type is replaced, a slot that is no number or
# has not come yet is removed, and a pause of another type too.
# Reply: room given, ms for which it is valid or after which to ask again, ms of pause left, its
# cause, the slot. Both scripts begin with a write that a full store allows; it then accepts their
# other writes too. Without shared budgets the address would get banned.
_TAKE: Final = (
    """
local paused = redis.call('PTTL', KEYS[2])
if paused > 0 then
  local cause = redis.pcall('GET', KEYS[2])
  if type(cause) == 'string' then return {0, 0, paused, cause, ''} end
  redis.call('DEL', KEYS[2])
end
local quantity, slot_ms, slots, parts =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local need, want, unused = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
"""
    + SLOTS_OF_NOW
    + """
if type(redis.pcall('HDEL', KEYS[1], '')) == 'table' then redis.call('DEL', KEYS[1]) end
if unused > 0 and redis.call('HEXISTS', KEYS[1], ARGV[8]) == 1 then
  redis.pcall('HINCRBY', KEYS[1], ARGV[8], -unused)
end
local used, soonest = 0, now + longest
local taken = redis.call('HGETALL', KEYS[1])
for i = 1, #taken, 2 do
  local at = freed(taken[i])
  local room = tonumber(string.match(taken[i + 1], '^%d+$') or '')
  if at and room and room > 0 and at > now and at <= now + 2 * longest then
    used = used + room
    soonest = math.min(soonest, at)
  else
    redis.call('HDEL', KEYS[1], taken[i])
  end
end
local room = math.max(quantity - used, used == 0 and need or 0)
if room < need then return {0, math.ceil(soonest - now), 0, '', slot} end
local given = math.min(room, want)
redis.call('HINCRBY', KEYS[1], slot, given)
redis.call('PEXPIRE', KEYS[1], longest + slot_ms)
return {given, math.floor(ends - now), 0, '', slot}
"""
)

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
    that the last one used.
    """

    left: int = 0
    slot: str = ""
    until: float = 0.0
    size: int = 1
    used: int = 0


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
        self._take = store.script("take_room", _TAKE)
        self._pause = store.script("pause", _PAUSE)
        self._lifted = store.script("lifted", _LIFTED)
        self._look_at: dict[Exchange, float] = {}  # for a lifted pause
        self._egress_ids = {each: behind_proxies.get(each, egress_id) for each in Exchange}
        self._clock = clock
        self._blocks: dict[tuple[Exchange, str], _Block] = {}
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
        self, exchange: Exchange, counter: str, limit: Limit, quantity: int, weight: int
    ) -> Grant:
        """Room for one request of `weight`, from the current block or a new one."""
        block = self._blocks.setdefault((exchange, counter), _Block())
        now = self._clock.monotonic_s()
        if now < self._local_until:
            return Grant(weight, limit.window_s)
        in_time = now < block.until
        if in_time and block.left >= weight:
            block.left -= weight
            block.used += weight
            return Grant(weight, block.until - now)
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
            block.until = now + answer.valid_s
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
        unused_slot: str = "",
    ) -> Grant:
        """Takes `want` from the store, at least `need`; grants `need` if the store is unavailable.

        Gives back `unused` room, which was taken in `unused_slot`.
        """
        slot_ms, parts = slot_ms_of(limit), parts_of(limit)
        own_key = budget_key(self._egress_ids[exchange], exchange, counter)
        keys = [own_key, self._pause_key(exchange)]
        try:
            room, wait_ms, paused_ms, cause, slot = await self._take.run(
                keys,
                [quantity, slot_ms, SLOTS, parts, need, want, unused, unused_slot],
                reply=elements(
                    whole_number(0, max(need, want)),
                    whole_number(0, (SLOTS + 3) * slot_ms),
                    whole_number(),
                    text,
                    text,
                ),
            )
        except StoreUnavailable as error:
            self._store_failed(error)
            return Grant(need, 0.0)
        self._outage.recovered()
        return Grant(
            room,
            wait_ms / 1000,
            paused_ms / 1000,
            cause.decode(errors="replace"),
            slot.decode(errors="replace"),
        )

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


def slot_ms_of(limit: Limit) -> int:
    """The length of a slot of the limit's window."""
    return round(limit.window_s * 1000 / SLOTS)


def parts_of(limit: Limit) -> int:
    """Into how many parts a slot of the limit is cut."""
    return max(1, math.ceil(slot_ms_of(limit) / 1000 / LONGEST_SLOT_S))


def budget_key(egress_id: str, exchange: Exchange, counter: str) -> str:
    """The key of what is taken of a limit at one public address."""
    return f"budget:{egress_id}:{exchange}:{counter}"


def pause_channel(store: HotStore, egress_id: str) -> str:
    """The channel of pauses at one public address."""
    return store.channel(f"paused:{egress_id}")


def lifted_key(egress_id: str, exchange: Exchange) -> str:
    """The key of the mark that the exchange's pause was lifted; it lasts as long as that had."""
    return f"{pause_key(egress_id, exchange)}:lifted"


def is_lift(duration_s: float, cause: str) -> bool:
    """Whether a message about a pause tells that it was lifted."""
    return duration_s == 0 and cause == LIFTED
