"""FeedState: what one exchange's feed of candles tells of itself, as it lies in the hot store.

`live:<exchange>:state` is one JSON value of the holder of the lease `lock:live:<exchange>`; it
expires soon after the process that writes it has ended.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from live.candle_log import feed_name
from stores.hot.leases import Lease
from stores.hot.replies import one_of
from stores.hot.store import HotStore

# How often it is told; Upstash bills every command.
TOLD_EVERY_S: Final = {"native": 5.0, "upstash": 30.0}
_TIMES_KEPT: Final = 3

# tell(lock, state; lease, JSON, ttl): stores the state.
# Returns 'ok', or 'lost' if the lease is not held.
_TELL: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 'ok'
"""


class LastClose(msgspec.Struct):
    """The newest close whose grace is not needed to tell of it: how many markets' closing events
    had not come 2.5 s after it, and after the grace (None before), and how many were silent."""

    close_ms: int
    without_soon: int | None
    without: int | None
    silent: int


class FeedState(msgspec.Struct):
    """`holder`: the process; `at_ms`: the exchange's time. `connections` are open ones, `streams`
    acknowledged names, `markets` those that are followed. `lag_ms`: how late the newest closing
    events came after their close, by share ("p50", "p99"). `unproven`: markets by reason;
    `reconnects`: connections that ended since the feed began, by reason. `refused`: names that the
    exchange refuses. `restarts`: how often the log began anew."""

    exchange: str
    holder: str
    at_ms: int
    connections: int
    streams: int
    markets: int
    messages_per_s: float
    lag_ms: Mapping[str, int | None]
    unproven: Mapping[str, int]
    reconnects: Mapping[str, int]
    last_failure: str | None
    refused: int
    restarts: int
    last_close: LastClose | None = None


_DECODER: Final = msgspec.json.Decoder(FeedState)


def state_key(exchange: str) -> str:
    return f"{feed_name(exchange)}:state"


class FeedTeller:
    """Stores the state under the lease, until `TOLD_EVERY_S` has passed three times."""

    def __init__(self, store: HotStore, lease: Lease, exchange: str) -> None:
        self.every_s = TOLD_EVERY_S[store.kind]
        self._lease = lease
        self._tell = store.script("tell", _TELL)
        self._keys = [lease.key, state_key(exchange)]

    async def tell(self, state: FeedState) -> None:
        """Raises LeaseLost and StoreUnavailable."""
        self._lease.check()
        answer = await self._tell.run(
            self._keys,
            [
                self._lease.value,
                msgspec.json.encode(state),
                round(_TIMES_KEPT * self.every_s) * 1000,
            ],
            reply=one_of(b"ok", b"lost"),
        )
        self._lease.raise_if_lost(answer)


async def feed_states(store: HotStore, exchanges: Iterable[str]) -> dict[str, FeedState]:
    """The states of the feeds that are alive, by exchange; one command. Raises StoreUnavailable."""
    names = list(exchanges)
    values = await store.execute("MGET", *map(state_key, names)) if names else []
    found = {}
    for exchange, value in zip(names, values, strict=True):
        try:
            found[exchange] = _DECODER.decode(value or b"")
        except msgspec.MsgspecError:  # absent, or of another release
            continue
    return found
