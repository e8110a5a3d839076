"""Parcels: how what one host asks of others for a collection, and their answers, lie in the store.

`part:<id>:asks` is there as long as the asker works and goes on taking; `part:<id>:answers` is a
list of bounded length; `part:<id>:done` tells which asks the asker has answered by itself. All of
them expire. Nothing is added once the asker's lease is not held any more, or asks for nothing.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stores.hot.leases import Lease, lock_key
from stores.hot.replies import elements, list_of, one_of, text, text_or_null, whole_number
from stores.hot.store import PIECE_DEADLINE_S, HotStore

LARGEST_PARCEL: Final = 256 * 1024  # bytes; every service of Redis takes so much in one command
MOST_PARCELS: Final = 32  # of one part, waiting to be taken
_TAKEN_AT_ONCE: Final = 8  # of all parts together, so that a reply has a few megabytes at most
_TTL_MS: Final = 30_000  # after the asker last took parcels

# offer(asks, answers, done; asks, ttl): asks of one part.
_OFFER: Final = """
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# put(lock, asks, answers, done; lease, most, ttl, parcel): adds a parcel of answers, if it
# is not empty.
# Returns {'ok', 'full' or 'over', what the asker has answered by itself or ''}.
_PUT: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[3])
  return {'over', ''}
end
local done = redis.pcall('GET', KEYS[4])
if type(done) ~= 'string' then done = '' end
local length = redis.pcall('LLEN', KEYS[3])
if type(length) ~= 'number' then redis.call('DEL', KEYS[3]) length = 0 end
if length >= tonumber(ARGV[2]) then return {'full', done} end
if ARGV[4] ~= '' then
  redis.call('RPUSH', KEYS[3], ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
return {'ok', done}
"""

# take({asks, answers, done} of each part; most, ttl, what is done of each part): takes parcels.
# Returns {number of the part, parcel, ...}.
_TAKE: Final = """
local found, left = {}, tonumber(ARGV[1])
for part = 1, #KEYS / 3 do
  local asks, answers, done = KEYS[3 * part - 2], KEYS[3 * part - 1], KEYS[3 * part]
  redis.call('PEXPIRE', asks, ARGV[2])
  redis.call('SET', done, ARGV[2 + part], 'PX', ARGV[2])
  while left > 0 do
    local parcel = redis.pcall('LPOP', answers)
    if type(parcel) ~= 'string' then break end
    found[#found + 1] = {part - 1, parcel}
    left = left - 1
  end
end
return found
"""


class PartOver(Exception):
    """Nobody waits for the part any more: stop, and write nothing."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease of the asker, under whose token a part may add answers."""

    lane: str
    value: str

    @classmethod
    def of(cls, lease: Lease) -> "Fence":
        return cls(lease.name, lease.value)


def new_part_id() -> str:
    return secrets.token_hex(8)


class Parcels:
    """The parcels in a store, for askers and for parts. All raise StoreUnavailable."""

    def __init__(self, store: HotStore) -> None:
        self._store = store
        self._offer = store.script("offer_part", _OFFER)
        self._put = store.script("put_parcel", _PUT)
        self._take = store.script("take_parcels", _TAKE)

    async def offer(self, part_id: str, asks: str) -> None:
        """Leaves the part's asks for its host."""
        keys = _keys(part_id)
        await self._offer.run(
            keys, [asks, _TTL_MS], reply=whole_number(1, 1), deadline_s=PIECE_DEADLINE_S
        )

    async def asks(self, part_id: str) -> bytes | None:
        """What the part is asked; None if nobody asks any more."""
        key, _, _ = _keys(part_id)
        return text_or_null(await self._store.execute("GET", key, deadline_s=PIECE_DEADLINE_S))

    async def put(self, part_id: str, fence: Fence, parcel: bytes) -> tuple[bool, bytes]:
        """Whether there was room for the parcel, and what the asker has answered by itself.

        Raises PartOver.
        """
        answer, done = await self._put.run(
            [lock_key(fence.lane), *_keys(part_id)],
            [fence.value, MOST_PARCELS, _TTL_MS, parcel],
            reply=elements(one_of(b"ok", b"full", b"over"), text),
            deadline_s=PIECE_DEADLINE_S,
        )
        if answer == b"over":
            raise PartOver(f"nobody waits for the part {part_id} any more")
        return answer == b"ok", done

    async def take(self, parts: Sequence[tuple[str, str]]) -> list[bytes]:
        """Takes parcels of these parts, with what is told to each: (id, what is done)."""
        found = await self._take.run(
            [key for part_id, _ in parts for key in _keys(part_id)],
            [_TAKEN_AT_ONCE, _TTL_MS, *(done for _, done in parts)],
            reply=list_of(elements(whole_number(), text)),
            deadline_s=PIECE_DEADLINE_S,
        )
        return [parcel for _, parcel in found]

    async def end(self, part_ids: Sequence[str]) -> None:
        """Nobody asks for these parts any more."""
        keys = [key for part_id in part_ids for key in _keys(part_id)]
        if keys:
            await self._store.execute("UNLINK", *keys)


def _keys(part_id: str) -> list[str]:
    return [f"part:{part_id}:{what}" for what in ("asks", "answers", "done")]
