"""FeedState: what one exchange's feed of candles tells of itself, as it lies in the hot store.

`live:<exchange>:state` is one JSON value of the holder of the lease `lock:live:<exchange>`; it
expires soon after the process that writes it has ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from live.told_state import ToldState
from stores.hot.leases import Lease
from stores.hot.read import Read, read
from stores.hot.replies import list_of, text
from stores.hot.store import HotStore

# values(keys...): each value, '' without one.
VALUES: Final = """
local values = {}
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  values[i] = type(value) == 'string' and value or ''
end
return values
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
    acknowledged names, `markets` those that are followed. `clock_offset_ms`: how far the exchange's
    clock is ahead of the process's machine. `lag_ms`: how late the newest closing
    events came after their close, by share ("p50", "p99"). `unproven`: markets by reason;
    `reconnects`: connections that ended since the feed began, by reason. `refused`: names that the
    exchange refuses. `restarts`: how often the log began anew.
    `is_silent`: whether no data of any market comes; None: an earlier release does not tell."""

    exchange: str
    holder: str
    at_ms: int
    clock_offset_ms: int
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
    is_silent: bool | None = None


_DECODER: Final = msgspec.json.Decoder(FeedState)


def feed_name(exchange: str) -> str:
    """The name of the lease under which the exchange's candles are fed, and of its keys."""
    return f"live:{exchange}"


def state_key(exchange: str) -> str:
    return f"{feed_name(exchange)}:state"


class FeedTeller:
    """Stores the state under the lease, every `every_s`."""

    def __init__(self, store: HotStore, lease: Lease, exchange: str) -> None:
        self._state = ToldState(store, lease, state_key(exchange))
        self.every_s = self._state.every_s

    async def tell(self, state: FeedState) -> None:
        """Raises LeaseLost and StoreUnavailable."""
        await self._state.tell(msgspec.json.encode(state))


async def feed_states(store: HotStore, exchanges: Iterable[str]) -> dict[str, FeedState]:
    """The states of the feeds that are alive, by exchange; one command. Raises StoreUnavailable."""
    return await read(store, read_of_feeds(exchanges))


def read_of_feeds(exchanges: Iterable[str]) -> Read[dict[str, FeedState]]:
    """The read of `feed_states`."""
    names = list(exchanges)
    keys = [state_key(exchange) for exchange in names]
    return Read("feeds", VALUES, keys, (), list_of(text, len(names)), partial(_feeds_of, names))


def _feeds_of(names: Sequence[str], values: Sequence[bytes]) -> dict[str, FeedState]:
    found = {}
    for exchange, value in zip(names, values, strict=True):
        try:
            found[exchange] = _DECODER.decode(value)
        except msgspec.MsgspecError:  # absent, or of another release
            continue
    return found
