"""How much of each exchange's limits is used now at one address, read from the hot store."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from budgets.proxies import egress_id_of
from budgets.slots import SLOTS_OF_NOW, budget_key, parts_of, slot_ms_of, slots_of
from config import Settings
from market.markets import Exchange
from stores.hot.read import Read
from stores.hot.replies import list_of, whole_number
from venues import VENUES
from venues.venue import Limit

# KEYS: counters' slots. ARGV: of each counter slot ms, slots for which room is held, parts of
# a slot.
# Returns the room taken of each that is not free again.
_USED: Final = (
    """
local found = {}
for i, key in ipairs(KEYS) do
  local slot_ms, slots, parts =
    tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
"""
    + SLOTS_OF_NOW
    + """
  local used = 0
  local taken = redis.pcall('HGETALL', key)
  if taken.err then taken = {} end
  for j = 1, #taken, 2 do
    local at = freed(taken[j])
    local room = tonumber(string.match(taken[j + 1], '^%d+$') or '')
    if at and room and at > now and at <= now + 2 * longest then used = used + room end
  end
  found[i] = used
end
return found
"""
)


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """Of one limit of an exchange: `quantity` is our part of it in `window_s`, `used` what is taken
    of that, in the units of the limit. Room is taken in blocks, a little ahead of its use."""

    quantity: int
    window_s: float
    used: int

    @property
    def left(self) -> int:
        return max(0, self.quantity - self.used)


Used = Mapping[Exchange, Mapping[str, BudgetUse]]


def read_of_budgets(settings: Settings) -> Read[Used]:
    """The read of the budgets of this address by exchange and counter; without those that are
    counted by market, of which there are as many as markets."""
    counters = [
        (exchange, counter, limit)
        for exchange in settings.exchanges
        for counter, limit in VENUES[exchange].limits.items()
        if not limit.by_market
    ]

    def made(reply: Sequence[int]) -> Used:
        found: dict[Exchange, dict[str, BudgetUse]] = {each: {} for each in settings.exchanges}
        for (exchange, counter, limit), used in zip(counters, reply, strict=True):
            quantity = _quantity(settings, limit)
            found[exchange][counter] = BudgetUse(quantity, limit.window_s, used)
        return found

    return Read(
        "budgets",
        _USED,
        [
            budget_key(egress_id_of(settings, exchange), exchange, counter)
            for exchange, counter, _ in counters
        ],
        [
            word
            for _, _, limit in counters
            for word in (slot_ms_of(limit), slots_of(limit), parts_of(limit))
        ],
        list_of(whole_number(), len(counters)),
        made,
    )


def _quantity(settings: Settings, limit: Limit) -> int:
    """As budgets/budget.py has it."""
    return max(1, math.floor(settings.rate_fraction * limit.quantity))
