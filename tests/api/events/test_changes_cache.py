"""What versions change is read once for all, and only some of it is kept in memory."""

import asyncio

from api.events.changes_cache import ChangesCache
from cache_manager import CacheManager
from documents.changes import Changes, encode_changes
from stores.hot.leases import Lease
from stores.hot.store import HotStore

EMPTY = encode_changes([], [], [], [], {})


class CountingCache(CacheManager):
    """A cache manager that counts what is read."""

    def __init__(self, store: HotStore) -> None:
        super().__init__(store)
        self.read_versions: list[int] = []

    async def read_changes(self, name: str, version: int) -> bytes | None:
        self.read_versions.append(version)
        return await super().read_changes(name, version)


async def save(cache: CacheManager, lease: Lease, version: int, text: bytes) -> None:
    await cache.save_to_cache(
        *("5m", b"{}"),
        version=version,
        as_of_ms=1,
        updated_at_ms=1,
        lease=lease,
        changes=Changes(version - 1, 1, 0, text),
    )


async def test_it_is_read_once_for_all(store: HotStore, lease: Lease) -> None:
    cache = CountingCache(store)
    await save(cache, lease, 1, EMPTY)
    await save(cache, lease, 2, b"not ours")
    changes = ChangesCache(cache)
    found = await asyncio.gather(*(changes.get("5m", 1) for _ in range(20)))
    assert {id(each) for each in found} == {id(found[0])} and found[0] is not None
    assert await changes.get("5m", 2) is None
    assert await changes.get("5m", 3) is None
    for version in (1, 2, 3):
        await changes.get("5m", version)
    assert cache.read_versions == [1, 2, 3]


async def test_the_least_used_goes_first(store: HotStore, lease: Lease) -> None:
    cache = CountingCache(store)
    for version in (1, 2, 3):
        await save(cache, lease, version, EMPTY)
    changes = ChangesCache(cache, most_bytes=2 * len(EMPTY))
    for version in (1, 2, 1, 3, 1, 3, 2):
        assert await changes.get("5m", version) is not None
    assert cache.read_versions == [1, 2, 3, 2]
