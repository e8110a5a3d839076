"""The circuit breaker of a member: which states it has, and the rules that open and close it.

The rules run inside the hot store, so that all processes and the next start know them. A member is
closed (asked), open (not asked), or half-open (one request at a time finds out). Only failures
count: limits, spent quotas, rejected keys and unknown subjects say nothing of its health.
"""

from enum import StrEnum
from typing import Final


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


WINDOW_CALLS: Final = 20
WINDOW_MS: Final = 60_000
LEAST_CALLS: Final = 5  # fewer say nothing about a share
OPEN_SHARE: Final = 0.5
FAILURES_IN_A_ROW: Final = 5
OPEN_MS: Final = 60_000  # doubled with each opening that follows
LONGEST_OPEN_MS: Final = 900_000
JITTER: Final = 0.2
SUCCESSES_TO_CLOSE: Final = 2
PROBE_MS: Final = 45_000  # between probes of an open one, by all processes
CALM_MS: Final = 900_000  # closed for so long, it opens for OPEN_MS again

# barred(key, now, how, permit_ms): why the member may not be asked now and until when; else by what
# right it is: `ok`, `permit` (half-open), `forced` (open, but nobody else is left) or `trial` (out,
# but demanded). A probe does not wait for the end of `open`, but needs the permit, and some time
# since the last one, which one that is demanded does not wait for.
# judged(key, now, right, failed, random): counts an outcome; returns opened, closed or ''.
BREAKER_LUA: Final = f"""
local function barred(key, now, how, permit_ms)
  local f = redis.call('HMGET', key, 'out_until', 'out_class', 'open_until', 'permit_until',
    'probed_at')
  local out, open, permit = tonumber(f[1]), tonumber(f[3]), tonumber(f[4])
  local is_out = out and now < out
  if is_out and how ~= 'demand' then return f[2] or 'out', out end
  if not open then return nil, is_out and 'trial' or 'ok' end
  if how == 'forced' then return nil, 'forced' end
  if now < open and how == '' then return 'open', open end
  if permit and now < permit then return 'open', math.max(open, permit) end
  local due = (tonumber(f[5]) or 0) + {PROBE_MS}
  if how == 'probe' and now < due then return 'open', math.max(open, due) end
  redis.call('HSET', key, 'permit_until', now + permit_ms)
  return nil, is_out and 'trial' or 'permit'
end
local function open_for(key, now, trips, random)
  local base = math.min({OPEN_MS} * 2 ^ trips, {LONGEST_OPEN_MS})
  local till = math.floor(now + base * (1 + {JITTER} * (2 * random - 1)))
  redis.call('HSET', key, 'open_until', till, 'opened_at', now, 'trips', trips, 'wins', 0)
  redis.call('HDEL', key, 'permit_until', 'w', 'streak')
end
local function judged(key, now, right, failed, random)
  local f = redis.call('HMGET', key, 'open_until', 'trips', 'wins', 'w', 'streak', 'closed_at')
  local trips, wins = tonumber(f[2]) or 0, tonumber(f[3]) or 0
  if tonumber(f[1]) then
    if right == 'ok' then return '' end
    redis.call('HDEL', key, 'permit_until')
    if failed then
      open_for(key, now, right == 'forced' and trips or math.min(trips + 1, 10), random)
      return 'opened'
    end
    if wins + 1 < {SUCCESSES_TO_CLOSE} then
      redis.call('HSET', key, 'wins', wins + 1, 'open_until', now)
      redis.call('HDEL', key, 'probed_at')
      return ''
    end
    redis.call('HDEL', key, 'open_until', 'opened_at', 'wins', 'w', 'streak')
    redis.call('HSET', key, 'closed_at', now)
    return 'closed'
  end
  local calls, failures, kept = 1, failed and 1 or 0, {{}}
  for at, sign in string.gmatch(f[4] or '', '(%d+)([+-])') do
    if now - at < {WINDOW_MS} then kept[#kept + 1] = at .. sign end
  end
  while #kept >= {WINDOW_CALLS} do table.remove(kept, 1) end
  for i = 1, #kept do
    calls = calls + 1
    if string.sub(kept[i], -1) == '-' then failures = failures + 1 end
  end
  kept[#kept + 1] = string.format('%.0f', now) .. (failed and '-' or '+')
  local streak = failed and (tonumber(f[5]) or 0) + 1 or 0
  if failed and (streak >= {FAILURES_IN_A_ROW}
      or calls >= {LEAST_CALLS} and failures >= {OPEN_SHARE} * calls) then
    local closed_at = tonumber(f[6])
    local again = closed_at and now - closed_at < {CALM_MS}
    open_for(key, now, again and math.min(trips + 1, 10) or 0, random)
    return 'opened'
  end
  redis.call('HSET', key, 'w', table.concat(kept), 'streak', streak)
  return ''
end
"""


def state_at(open_until_ms: int | None, now_ms: int) -> BreakerState:
    """The state that the store's fields mean at a time: an opening that has ended is half-open."""
    if open_until_ms is None:
        return BreakerState.CLOSED
    return BreakerState.OPEN if now_ms < open_until_ms else BreakerState.HALF_OPEN
