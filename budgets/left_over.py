"""LeftOver: a part of what others leave of a shared budget, for requests that come after theirs.

Whatever takes room here takes it of the budget, too (SharedBudgets): this only says whether it may.
All processes at one address share both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from budgets.proxies import pause_key
from budgets.slots import SLOTS_OF_NOW, budget_key, parts_of, slot_ms_of, slots_in, slots_of
from market.markets import Exchange
from stores.hot.replies import elements, text, whole_number
from stores.hot.store import HotStore
from venues.venue import Limit

_MILLION: Final = 1_000_000
# KEYS: the counter's slots, those of what was taken here, the exchange's pause. ARGV: quantity,
# slot ms, slots for which room is held, parts of a slot, weight (0: only look), share in
# millionths, what is used as far as the caller knows, the part of the share that may be used, in
# millionths, slots for which room is held that was taken here: it only has to be about a window.
# Reply: 1 if there is room, ms after which to ask again, ms of pause left, its cause, what is used,
# and the share of what is left.
# It begins with a write that a full store allows, as that of slots.py does.
_TAKE: Final = (
    """
local quantity, slot_ms, slots, parts =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local weight, share, known = tonumber(ARGV[5]), tonumber(ARGV[6]) / 1000000, tonumber(ARGV[7])
local part = tonumber(ARGV[8]) / 1000000
"""
    + SLOTS_OF_NOW
    + """
local function sum(key)
  local total, soonest = 0, nil
  local taken = redis.pcall('HGETALL', key)
  for i = 1, #taken, 2 do
    local at = freed(taken[i])
    local room = tonumber(string.match(taken[i + 1], '^%d+$') or '')
    if at and room and at > now and at <= now + 2 * longest then
      total = total + room
      if not soonest or at < soonest then soonest = at end
    end
  end
  return total, soonest
end
if type(redis.pcall('HDEL', KEYS[2], '')) == 'table' then redis.call('DEL', KEYS[2]) end
local used = math.max(sum(KEYS[1]), known)
slots = tonumber(ARGV[9])
local paused = redis.call('PTTL', KEYS[3])
local cause = paused > 0 and redis.pcall('GET', KEYS[3])
if type(cause) == 'string' then return {0, 0, paused, cause, used, 0} end
local ours, soonest = sum(KEYS[2])
local left = math.max(0, quantity - math.max(0, used - ours))
local allowance = share * left
if ours + weight > part * allowance then
  local wait_ms = math.ceil(math.max(1, (soonest or now + slot_ms) - now))
  return {0, wait_ms, 0, '', used, math.floor(allowance)}
end
if weight > 0 then
  redis.call('HINCRBY', KEYS[2], slot, weight)
  redis.call('PEXPIRE', KEYS[2], longest + slot_ms)
end
return {1, 0, 0, '', used, math.floor(allowance)}
"""
)


@dataclass(frozen=True, slots=True)
class Room:
    """Whether there is room; else after how long to ask again, or how long the exchange pauses and
    why. `used`: of the whole budget, by all. `allowance`: what may be taken here in a window."""

    is_free: bool
    wait_s: float
    paused_s: float
    cause: str
    used: int
    allowance: int


class LeftOver:
    """`share`: of what is left, for all processes together. `egress_ids`: the public addresses from
    which exchanges are asked."""

    def __init__(self, store: HotStore, share: float, egress_ids: Mapping[Exchange, str]) -> None:
        self._take = store.script("take_left_over", _TAKE)
        self._share = share
        self._egress_ids = egress_ids

    async def take(
        self,
        exchange: Exchange,
        counter: str,
        limit: Limit,
        quantity: int,
        weight: int,
        known: int,
        part: float = 1.0,
        market: str | None = None,
    ) -> Room:
        """Room for a request of `weight`; of 0: only what is used. `quantity`: of the budget,
        `known`: how much of it is used as far as this process knows, `part`: how much of what may
        be taken here this request may use, with what was taken. `market`: that the request is
        about; it matters where the limit is counted by market. Raises StoreUnavailable."""
        egress_id = self._egress_ids[exchange]
        budget = budget_key(egress_id, exchange, counter, market if limit.by_market else None)
        slots, slot_ms, parts = slots_of(limit), slot_ms_of(limit), parts_of(limit)
        share = round(self._share * _MILLION)
        free, wait_ms, paused_ms, cause, used, allowance = await self._take.run(
            [budget, f"{budget}:left_over", pause_key(egress_id, exchange)],
            [
                *(quantity, slot_ms, slots, parts, weight, share, known, round(part * _MILLION)),
                slots_in(limit),
            ],
            reply=elements(
                *(whole_number(0, 1), whole_number(), whole_number(), text),
                *(whole_number(), whole_number()),
            ),
        )
        words = cause.decode(errors="replace")
        return Room(free == 1, wait_ms / 1000, paused_ms / 1000, words, used, allowance)
