"""Which workers are alive, and whether the store takes writes."""

from dataclasses import dataclass
from typing import Final

from stores.hot.store import HotStore

BEAT_TTL_S: Final = 30
_DAY_S: Final = 86_400

# beat(all ids, this worker, any worker; id, note, ttl s, ttl s of the list): says 'I live'.
# Returns 1. It begins with what a full store allows, after which that takes the rest as well.
_BEAT: Final = """
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('SET', KEYS[3], '1', 'EX', ARGV[3])
return 1
"""

# store_health(any worker, a key that is never made): who lives, and whether writing is allowed.
# Returns {1 or 0, the refusal or ''}. Nothing is written: the text is empty.
_STORE_HEALTH: Final = """
local refused = redis.pcall('SETRANGE', KEYS[2], 0, '')
return {redis.call('EXISTS', KEYS[1]), type(refused) == 'table' and refused.err or ''}
"""


async def beat(store: HotStore, worker_id: str, note: str = "") -> None:
    """Says that this worker lives; counts for BEAT_TTL_S. `note` is handed to `workers_alive`.

    Raises StoreUnavailable.
    """
    keys = ["workers", f"workers:{worker_id}", "workers:any"]
    await store.script(_BEAT).run(keys, [worker_id, note, BEAT_TTL_S, _DAY_S])


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether a worker has beaten within BEAT_TTL_S; why the store takes no writes, or None.

    `can_beat`: a full store takes beats all the same, one that writes nothing does not.
    """

    worker_alive: bool
    refusal: str | None

    @property
    def can_beat(self) -> bool:
        return self.refusal is None or self.refusal.startswith("OOM")


async def store_health(store: HotStore) -> StoreHealth:
    """What can be told of the workers and of writing, in one command. Raises StoreUnavailable."""
    alive, refusal = await store.script(_STORE_HEALTH).run(["workers:any", "workers:none"])
    # Redis 6 puts the protocol's sign in front.
    text = refusal.decode(errors="replace").removeprefix("-")
    return StoreHealth(bool(alive), text or None)


async def workers_alive(store: HotStore) -> dict[str, bytes]:
    """The notes of the workers that live, by worker id, in two commands; one more forgets the
    names of those that live no longer.

    Raises StoreUnavailable.
    """
    ids = sorted(worker.decode() for worker in await store.execute("SMEMBERS", "workers"))
    if not ids:
        return {}
    notes = await store.execute("MGET", *(f"workers:{worker}" for worker in ids))
    found = dict(zip(ids, notes, strict=True))
    if gone := [worker for worker, note in found.items() if note is None]:
        # One that beats again puts its name back.
        await store.execute("SREM", "workers", *gone)
    return {worker: note for worker, note in found.items() if note is not None}
