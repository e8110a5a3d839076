"""Budgets of providers: how much each account may be asked, counted in the hot store before a call.

An account is a provider with a key, or without one this host's public address, for providers limit
addresses. Short limits slide; days and months begin at midnight UTC.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from providers.resources import Limit

KEPT_MS: Final = 3_600_000  # of a period that has ended
SLOTS: Final = 20  # per window: room is free again slot by slot
DAY_S: Final = 86_400
MONTH_S: Final = 2_592_000

# take_room(key, now, weight, args, first, last): takes `weight` of every limit, or of none; returns
# nil, or when to ask again. Five args a limit: its name, quantity, slot in ms (0: a day or month),
# the period's name, which is its end, and that end. What was sent at the end of a slot may be
# counted a little later by the provider: a slot's room is held for one slot more than the window.
# A period that has ended is kept for a while: of two hosts one may be a moment ahead.
BUDGET_LUA: Final = f"""
local function take_room(key, now, weight, args, first, last)
  if first > last then return nil end
  local limits = {{}}
  for i = first, last, 5 do
    local slot_ms = tonumber(args[i + 2])
    local part = slot_ms > 0 and string.format('%.0f', math.floor(now / slot_ms)) or args[i + 3]
    limits[args[i]] = {{quantity = tonumber(args[i + 1]), slot_ms = slot_ms, part = part,
      ends = tonumber(args[i + 4]), used = 0}}
  end
  local taken = redis.call('HGETALL', key)
  for i = 1, #taken, 2 do
    local name, part = string.match(taken[i], '^b:(%d+):(%d+)$')
    if name then
      local limit, held = limits[name], false
      if limit and limit.slot_ms > 0 then
        local freed = (part + {SLOTS + 2}) * limit.slot_ms
        held = freed > now
        if held then limit.soonest = math.min(limit.soonest or freed, freed) end
      elseif limit then
        held = part == limit.part
        limit.soonest = limit.ends
      end
      if held then limit.used = limit.used + (tonumber(taken[i + 1]) or 0)
      elseif not limit or limit.slot_ms > 0 or now - part > {KEPT_MS} then
        redis.call('HDEL', key, taken[i])
      end
    end
  end
  for _, limit in pairs(limits) do
    if limit.used > 0 and limit.used + weight > limit.quantity then return limit.soonest end
  end
  for name, limit in pairs(limits) do
    redis.call('HINCRBY', key, 'b:' .. name .. ':' .. limit.part, weight)
  end
  return nil
end
"""


def limit_words(limits: Iterable[Limit], fraction: float, now_ms: int) -> list[str | int]:
    """The limits as `take_room` reads them; each is used up to `fraction`."""
    words: list[str | int] = []
    for limit in limits:
        slot_ms = 0 if limit.window_s >= DAY_S else math.ceil(limit.window_s * 1000 / SLOTS)
        period, ends_ms = ("", 0) if slot_ms else _period(limit.window_s, now_ms)
        words += [limit.window_s, quantity_of(limit, fraction), slot_ms, period, ends_ms]
    return words


def quantity_of(limit: Limit, fraction: float) -> int:
    return max(1, math.floor(fraction * limit.quantity))


def room_left(
    fields: dict[str, str], limits: Iterable[Limit], fraction: float, now_ms: int
) -> dict[int, int]:
    """By window in seconds: what is left of each limit of an account, from its fields."""
    left = {}
    for limit in limits:
        used = 0
        slot_ms = math.ceil(limit.window_s * 1000 / SLOTS)
        period = _period(limit.window_s, now_ms)[0]
        for name, taken in fields.items():
            kind, _, rest = name.partition(":")
            window, _, part = rest.partition(":")
            if kind == "b" and window == str(limit.window_s):
                slides = limit.window_s < DAY_S
                held = (int(part) + SLOTS + 2) * slot_ms > now_ms if slides else part == period
                used += int(taken) if held else 0
        left[limit.window_s] = max(0, quantity_of(limit, fraction) - used)
    return left


def quota_ends_ms(now_ms: int, *, month: bool) -> int:
    """When a day's or a month's quota begins again: midnight UTC, or that of the month's end."""
    return _period(MONTH_S if month else DAY_S, now_ms)[1]


def began_ms(window_s: int, now_ms: int) -> int:
    """When the day or month that `now_ms` is in began (UTC)."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight if window_s < MONTH_S else midnight.replace(day=1)
    return round(first.timestamp() * 1000)


def _period(window_s: int, now_ms: int) -> tuple[str, int]:
    """The name (digits) and the end of the day or month that `now_ms` is in."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    following = midnight + timedelta(days=1)
    if window_s >= MONTH_S:
        following = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    ends_ms = round(following.timestamp() * 1000)
    return str(ends_ms), ends_ms
