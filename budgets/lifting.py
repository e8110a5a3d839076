"""Lifting an exchange's pause for all processes at one public address."""

from dataclasses import dataclass

from budgets.proxies import egress_id_of, pause_key
from budgets.shared_budgets import LIFTED, lifted_key, pause_channel
from config import Settings
from market.markets import Exchange
from stores.hot.event_log import END_PAUSE, LOG, PAUSES
from stores.hot.replies import elements, text, whole_number
from stores.hot.store import HotStore

# KEYS: the log of events, its pauses, the exchange's pause, the mark that it was lifted. ARGV:
# channel, exchange, egress id, the word of the message. Removes the pause, tells the processes and
# the log.
# Returns {ms that it had left, or -2; its cause}.
_LIFT = (
    END_PAUSE
    + """
local left, cause = redis.call('PTTL', KEYS[3]), redis.pcall('GET', KEYS[3])
if left == -2 then return {-2, ''} end
redis.call('DEL', KEYS[3])
if left > 0 then redis.call('SET', KEYS[4], '1', 'PX', left) end
redis.pcall('PUBLISH', ARGV[1], ARGV[2] .. ' 0 ' .. ARGV[4])
end_pause(KEYS[1], KEYS[2], ARGV[3], ARGV[2])
return {left, type(cause) == 'string' and cause or ''}
"""
)


@dataclass(frozen=True, slots=True)
class LiftedPause:
    """The pause that was lifted; `left_s` and `cause` are None if there was none."""

    exchange: Exchange
    egress_id: str
    left_s: float | None
    cause: str | None

    @property
    def note(self) -> str:
        """What comes now, in words."""
        if self.left_s is None:
            return f"{self.exchange} was not paused; nothing has changed."
        return (
            f"The next request asks {self.exchange} again. If it has banned the address, only it"
            " can end that: asking during a ban makes it longer."
        )


async def lift_pause(store: HotStore, settings: Settings, exchange: Exchange) -> LiftedPause:
    """Lifts the exchange's pause from our address. Raises StoreUnavailable."""
    egress_id = egress_id_of(settings, exchange)
    left_ms, cause = await store.script("lift_pause", _LIFT).run(
        [
            *(LOG, PAUSES, pause_key(egress_id, exchange)),
            lifted_key(egress_id, exchange),
        ],
        [pause_channel(store, egress_id), exchange, egress_id, LIFTED],
        reply=elements(whole_number(-2), text),
    )
    if left_ms == -2:
        return LiftedPause(exchange, egress_id, None, None)
    told = cause.decode(errors="replace")
    return LiftedPause(exchange, egress_id, max(0, left_ms) / 1000, told or "no cause is told")
