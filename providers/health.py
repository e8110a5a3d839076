"""Health of a member: how often it succeeds of late, how fast, and the score from 0 to 100."""

from collections.abc import Sequence
from typing import Final

HALF_LIFE_MS: Final = 300_000  # of what a call says about the success rate
LATENCIES: Final = 32  # the last ones, of successes alone: who refuses fast is not fast
_QUANTILE: Final = 0.7

# measured(key, now, good, ms): counts a call that succeeded (1, in ms) or failed (0).
HEALTH_LUA: Final = f"""
local function measured(key, now, good, ms)
  local f = redis.call('HMGET', key, 'good', 'total', 'at', 'ms')
  local faded = 0.5 ^ (math.max(0, now - (tonumber(f[3]) or now)) / {HALF_LIFE_MS})
  local goods = (tonumber(f[1]) or 0) * faded + good
  local total = (tonumber(f[2]) or 0) * faded + 1
  redis.call('HSET', key, 'good', string.format('%.4f', goods),
    'total', string.format('%.4f', total), 'at', string.format('%.0f', now))
  if good == 0 then return end
  local last = {{}}
  for each in string.gmatch(f[4] or '', '%d+') do last[#last + 1] = each end
  last[#last + 1] = string.format('%.0f', ms)
  while #last > {LATENCIES} do table.remove(last, 1) end
  redis.call('HSET', key, 'ms', table.concat(last, ' '))
end
"""


def success_rate(good: float, total: float) -> float:
    """The faded share of successes. A success is assumed beforehand, so that one failure of a
    member that was never asked does not make it worthless."""
    return (good + 1) / (total + 1)


def quantile(latencies_ms: Sequence[int], share: float = _QUANTILE) -> int | None:
    """The latency that this share of the calls does not exceed; None if there are none."""
    if not latencies_ms:
        return None
    ordered = sorted(latencies_ms)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
