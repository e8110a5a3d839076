"""CollectorState: what a collector does, told by the process that runs it, in the hot store.

`live:collector:<name>:state` is one JSON value of the holder of the lease
`lock:live:collector:<name>`; it expires soon after the process that writes it has ended.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from live.feed_state import VALUES
from live.told_state import ToldState
from stores.hot.leases import Lease
from stores.hot.read import Read
from stores.hot.replies import list_of, text
from stores.hot.store import HotStore


class CollectorState(msgspec.Struct, frozen=True):
    """`holder`: the process that runs it, since `since_ms`; `at_ms`: when this was told (UTC ms).

    `restarts`: the number of the last restart that was asked for and begun. `error`: why there is
    no collector, None if there is one. `collector`: `get_status`; `health`: `get_health_status`;
    `manager`: restarts and errors; `outputs`: the status of each output, which all collectors of
    the process share.
    """

    holder: str
    since_ms: int
    at_ms: int
    restarts: int
    error: str | None
    collector: dict[str, Any] | None
    health: dict[str, Any] | None
    manager: dict[str, Any] | None
    outputs: dict[str, dict[str, Any]]

    @property
    def status(self) -> str:
        """The collector's status in one word."""
        return "error" if self.collector is None else str(self.collector.get("status"))


_DECODER: Final = msgspec.json.Decoder(CollectorState)


def lease_name(name: str) -> str:
    """The name of the lease under which a collector runs, and of its keys."""
    return f"live:collector:{name}"


def _state_key(name: str) -> str:
    return f"{lease_name(name)}:state"


class StateTeller:
    """Stores the state under the lease, every `every_s` and when it changes."""

    def __init__(self, store: HotStore, lease: Lease, name: str) -> None:
        self._state = ToldState(store, lease, _state_key(name))
        self.every_s = self._state.every_s

    async def tell(self, state: CollectorState) -> None:
        """Raises LeaseLost and StoreUnavailable."""
        await self._state.tell(msgspec.json.encode(state, enc_hook=str))


async def collector_states(store: HotStore, names: Iterable[str]) -> dict[str, CollectorState]:
    """The states of the collectors that a process runs, by name; one command. Raises
    StoreUnavailable."""
    asked = list(names)
    values = await store.execute("MGET", *map(_state_key, asked)) if asked else []
    return _states_of(asked, values)


def read_of_collectors(names: Iterable[str]) -> Read[dict[str, CollectorState]]:
    """The read of `collector_states`."""
    asked = list(names)
    keys = [_state_key(name) for name in asked]
    shape = list_of(text, len(asked))
    return Read("collectors", VALUES, keys, (), shape, partial(_states_of, asked))


def _states_of(asked: Sequence[str], values: Sequence[bytes | None]) -> dict[str, CollectorState]:
    found = {}
    for name, value in zip(asked, values, strict=True):
        try:
            found[name] = _DECODER.decode(value or b"")
        except msgspec.MsgspecError:  # absent, or of another release
            continue
    return found
