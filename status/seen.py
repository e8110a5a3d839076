"""Problems' first sight, in the hot store: the hash `problems`, which one process of all writes.

A field is a problem's id, its value JSON with `first_ms`, when the problem was first seen, beside
what notify/ keeps of what was told. The process that holds the lease `notify` writes it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from stores.hot.leases import Lease
from stores.hot.read import Read, read
from stores.hot.replies import list_of, one_of, text
from stores.hot.store import HotStore

PROBLEMS_KEY: Final = "problems"
_KEPT_S: Final = 90 * 86_400  # after the last change
_MOST: Final = 10_000  # problems

# seen(problems; most): the fields and values of the record; none if it is no hash, or too long.
_SEEN: Final = """
local count = redis.pcall('HLEN', KEYS[1])
if type(count) ~= 'number' or count > tonumber(ARGV[1]) then return {} end
return redis.call('HGETALL', KEYS[1])
"""

# write(lock, problems; lease, ttl s, number of ids, removed ids..., id, value...): changes the
# record. One of another type, or too long, was written by others and is replaced.
# Returns 'done', or 'lost' when the lock holds another value.
_WRITE: Final = f"""
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local count = redis.pcall('HLEN', KEYS[2])
if type(count) ~= 'number' or count > {_MOST} then redis.call('DEL', KEYS[2]) end
local first = 4 + tonumber(ARGV[3])
for i = 4, first - 1 do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = first, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 'done'
"""
_WRITTEN: Final = one_of(b"done", b"lost")


def read_of_seen() -> Read[Mapping[str, int]]:
    """When each problem that is known was first seen (UTC ms), by its id."""
    return Read("seen", _SEEN, [PROBLEMS_KEY], [_MOST], list_of(text), _first_seen)


async def read_seen(store: HotStore) -> Mapping[str, bytes]:
    """The record as it is: values by id. Raises StoreUnavailable."""
    whole = Read("seen", _SEEN, [PROBLEMS_KEY], [_MOST], list_of(text), _pairs)
    return await read(store, whole)


async def write_seen(
    store: HotStore, lease: Lease, changed: Mapping[str, str], removed: Iterable[str]
) -> None:
    """Changes the record under the lease. Raises LeaseLost and StoreUnavailable."""
    gone = list(removed)
    pairs = [word for pair in changed.items() for word in pair]
    answer = await store.script("write_seen", _WRITE).run(
        [lease.key, PROBLEMS_KEY],
        [lease.value, _KEPT_S, len(gone), *gone, *pairs],
        reply=_WRITTEN,
    )
    lease.raise_if_lost(answer)


def _pairs(words: list[bytes]) -> dict[str, bytes]:
    return {
        id_.decode(errors="replace"): value
        for id_, value in zip(words[::2], words[1::2], strict=False)
    }


def _first_seen(words: list[bytes]) -> dict[str, int]:
    found: dict[str, int] = {}
    for id_, value in _pairs(words).items():
        try:
            told: Any = json.loads(value)
            found[id_] = int(told["first_ms"])
        except (ValueError, TypeError, KeyError, OverflowError):
            continue  # others wrote it
    return found
