"""Slots: how the hot store writes down what is taken of a limit, by the slots of its window.

A counter is a hash: slot -> room taken in it. A slot is named by its number, and, if it has parts,
by as many zeros after a point: 812.000 ends after three parts of slot 812. Releases that know no
parts read it as the number 812. Room that is taken in a slot may be used until the slot ends. It is
held for the slots of one window, and for as long as its slot lasts, after that: the exchange may
count a request sent at the slot's end that late.

In a window of 2 s that would be a tenth of a second. A request that opens a connection may be
counted a second later than one that finds it open, and later where a packet of it was lost. So
short windows have slots of half a second, and their room is held for three seconds more than the
window, five of those slots and the length of one. A process that has its answers gives room back
before (shared_budgets.py), so it does not wait for its own.
"""

import math
from typing import Any, Final
from urllib.parse import quote

from market.markets import Exchange
from stores.hot.replies import Shape, elements, text, whole_number
from venues.venue import Limit

_SLOTS: Final = 20  # per window: taken room is freed slot by slot
# Longer slots are cut into parts, so that what a close takes is free again soon after the next one
# has begun.
LONGEST_SLOT_S: Final = 3.0
_SHORT_WINDOW_S: Final = 5.0  # windows below it have fewer and longer slots
_SHORTEST_SLOT_S: Final = 0.5
_MORE_OF_SHORT: Final = 5  # slots for which room is held beyond the window

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

# KEYS: the exchange's pause, counters' slots. ARGV: quantity, slot ms, slots for which room is
# held, parts of a slot, how many pairs follow: room that the first counter gets back, its slot;
# then of each counter room needed, room wanted.
# Others may write to the store: a counter of another type is replaced, a slot that is no number or
# has not come yet is removed, and a pause of another type too.
# Reply: ms of pause left, its cause, the slot, ms until it ends; of each counter room given, and ms
# after which to ask again if that is 0. It begins with a write that a full store allows; that then
# accepts its other writes too. Without shared budgets the address would get banned.
TAKE: Final = (
    """
local reply = {0, '', '', 0}
for k = 2, #KEYS do
  reply[#reply + 1] = 0
  reply[#reply + 1] = 0
end
local paused = redis.call('PTTL', KEYS[1])
if paused > 0 then
  local cause = redis.pcall('GET', KEYS[1])
  if type(cause) == 'string' then
    reply[1], reply[2] = paused, cause
    return reply
  end
  redis.call('DEL', KEYS[1])
end
local quantity, slot_ms, slots, parts, pairs_back =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
"""
    + SLOTS_OF_NOW
    + """
for k = 2, #KEYS do
  if type(redis.pcall('HDEL', KEYS[k], '')) == 'table' then redis.call('DEL', KEYS[k]) end
end
for i = 1, pairs_back do
  local room, of = ARGV[4 + 2 * i], ARGV[5 + 2 * i]
  if redis.call('HEXISTS', KEYS[2], of) == 1 then redis.pcall('HINCRBY', KEYS[2], of, -room) end
end
reply[3], reply[4] = slot, math.floor(ends - now)
for k = 2, #KEYS do
  local at = 2 * (pairs_back + k) + 2
  local need, want = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local used, soonest = 0, now + longest
  local taken = redis.call('HGETALL', KEYS[k])
  for i = 1, #taken, 2 do
    local free_at = freed(taken[i])
    local room = tonumber(string.match(taken[i + 1], '^%d+$') or '')
    if free_at and room and room > 0 and free_at > now and free_at <= now + 2 * longest then
      used = used + room
      soonest = math.min(soonest, free_at)
    else
      redis.call('HDEL', KEYS[k], taken[i])
    end
  end
  local room = math.max(quantity - used, used == 0 and need or 0)
  if room < need then
    reply[2 * k + 2] = math.ceil(soonest - now)
  else
    local given = math.min(room, want)
    redis.call('HINCRBY', KEYS[k], slot, given)
    redis.call('PEXPIRE', KEYS[k], longest + slot_ms)
    reply[2 * k + 1] = given
  end
end
return reply
"""
)


def slot_ms_of(limit: Limit) -> int:
    """The length of a slot of the limit's window."""
    if limit.window_s < _SHORT_WINDOW_S:
        return round(_SHORTEST_SLOT_S * 1000)
    return round(limit.window_s * 1000 / _SLOTS)


def slots_in(limit: Limit) -> int:
    """How many slots the limit's window has."""
    return math.ceil(limit.window_s * 1000 / slot_ms_of(limit))


def slots_of(limit: Limit) -> int:
    """For how many slots room is held after its own, which adds its length."""
    return slots_in(limit) + (_MORE_OF_SHORT if limit.window_s < _SHORT_WINDOW_S else 0)


def parts_of(limit: Limit) -> int:
    """Into how many parts a slot of the limit is cut."""
    return max(1, math.ceil(slot_ms_of(limit) / 1000 / LONGEST_SLOT_S))


def largest_block(limit: Limit, quantity: int) -> int:
    """How much of the budget a process may take at a time, to use it until the slot ends."""
    return max(1, quantity * slot_ms_of(limit) // round(limit.window_s * 1000))


def budget_key(egress_id: str, exchange: Exchange, counter: str, market: str | None = None) -> str:
    """The key of what is taken of a limit at one public address; `market`: of a limit that is
    counted by market (None: requests about none)."""
    whole = f"budget:{egress_id}:{exchange}:{counter}"
    return whole if market is None else f"{whole}:{quote(market, safe='')}"


def reply_of_take(most: int, counters: int, limit: Limit) -> Shape[list[Any]]:
    """The shape of the reply to TAKE of so many counters; `most`: room that each may be given."""
    longest_ms = (slots_of(limit) + 3) * slot_ms_of(limit)
    each = (whole_number(0, most), whole_number(0, longest_ms))
    return elements(whole_number(), text, text, whole_number(0, longest_ms), *each * counters)
