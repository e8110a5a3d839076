"""ToldState: a state that a lease's holder alone stores in the hot store, and that expires soon."""

from typing import Final

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


class ToldState:
    """The value at `key`, kept until `every_s` has passed three times."""

    def __init__(self, store: HotStore, lease: Lease, key: str) -> None:
        self.every_s = TOLD_EVERY_S[store.kind]
        self._lease = lease
        self._tell = store.script("tell", _TELL)
        self._keys = [lease.key, key]

    async def tell(self, state: bytes) -> None:
        """Raises LeaseLost and StoreUnavailable."""
        self._lease.check()
        ttl_ms = round(_TIMES_KEPT * self.every_s) * 1000
        answer = await self._tell.run(
            self._keys, [self._lease.value, state, ttl_ms], reply=one_of(b"ok", b"lost")
        )
        self._lease.raise_if_lost(answer)
