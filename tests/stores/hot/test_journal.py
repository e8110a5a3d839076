"""The journal in the hot store: appended by the publish itself, capped, read one by one."""

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from cache_manager import CacheManager, StaleVersion, meta_key
from documents.journal import EncodedEntry, StoredEntry
from documents.names import DOCUMENTS
from stores.hot.journal import JOURNAL, STATE, Journal, copy_key, read_state
from stores.hot.leases import Lease, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.cache import PIECE_BYTES, document
from tests.fixtures.upstash import OwnValkey

TEXT = b"A" * 400


async def publish(
    cache: CacheManager,
    lease: Lease,
    version: int,
    *,
    name: str = "4h",
    is_whole: bool = False,
    text: bytes | None = TEXT,
) -> None:
    await cache.save_to_cache(
        name,
        document(version, 3000),
        version=version,
        as_of_ms=version - 1,
        updated_at_ms=version + 1,
        lease=lease,
        entry=None if text is None else EncodedEntry(text, is_whole),
    )


@pytest.fixture
def journal(store: HotStore) -> Journal:
    return Journal(store, [meta_key(name) for name in DOCUMENTS])


async def next_entry(
    journal: Journal, done: StoredEntry | None = None, told: Any = None
) -> StoredEntry:
    taken = await journal.take(done, told)
    assert taken.entry is not None
    return taken.entry


async def test_publishes_leave_their_entries_in_order(
    cache: CacheManager, lease: Lease, journal: Journal, store: HotStore
) -> None:
    assert await journal.take() == await journal.take()
    assert (await journal.take()).versions == {}
    await publish(cache, lease, 10)
    await publish(cache, lease, 11, text=None)  # by a process without history
    await publish(cache, lease, 12, name="global_fr")
    with pytest.raises(StaleVersion):
        await publish(cache, lease, 11)
    state = await read_state(store)
    assert (state.waiting, state.oldest_ms, state.cut) == (2, 11, 0)
    assert 2 * len(TEXT) < state.bytes < 2 * len(TEXT) + 200
    first = await next_entry(journal)
    assert (first.document, first.version, first.text) == ("4h", 10, TEXT)
    assert await next_entry(journal) == first  # it is there until it is done
    second = await next_entry(journal, first, {"recorded_at": 5})
    assert (second.document, second.version) == ("global_fr", 12)
    assert await next_entry(journal, first) == second  # removed already
    taken = await journal.take(second)
    assert (taken.entry, taken.waiting) == (None, 0)
    assert taken.versions == {"4h": 11, "global_fr": 12}
    state = await read_state(store)
    assert (state.waiting, state.bytes, state.oldest_ms) == (0, 0, None)
    assert state.told["recorded_at"] == "5"


async def test_a_publish_whose_reply_was_lost_leaves_one_entry(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    run = cache._publish.run
    calls: list[bytes] = []

    async def twice(*arguments: Any, **options: Any) -> bytes:
        calls.append(await run(*arguments, **options))
        calls.append(await run(*arguments, **options))
        return calls[-1]

    cache._publish.run = twice  # type: ignore[method-assign,assignment]
    await publish(cache, lease, 10)
    assert calls == [b"ok", b"ok"]
    assert (await read_state(store)).waiting == 1


async def test_a_whole_entry_has_a_copy_of_its_document_until_it_is_done(
    cache: CacheManager, lease: Lease, journal: Journal, store: HotStore
) -> None:
    await publish(cache, lease, 10, is_whole=True)
    await publish(cache, lease, 20)
    first = await next_entry(journal)
    assert first.is_whole
    copy = await cache.read_copy(first.copy_meta)
    assert copy is not None
    assert copy.inflate() == document(10, 3000) == zlib.decompress(copy.deflated)
    size = (await read_state(store)).bytes
    assert size > first.stored_bytes + 2 * len(TEXT)
    assert await store.execute("TTL", copy_key("4h", 10)) > 0  # should nobody ever remove it
    await journal.take(first)
    assert await cache.read_copy(first.copy_meta) is None
    assert (await read_state(store)).bytes < size - first.stored_bytes - len(TEXT)


async def test_a_full_journal_keeps_its_oldest_entries_and_counts_the_others(
    store: HotStore, lease: Lease, journal: Journal
) -> None:
    cache = CacheManager(store, piece_bytes=PIECE_BYTES, journal_bytes=1000)
    for version in (10, 11, 12, 13):
        await publish(cache, lease, version)
    state = await read_state(store)
    assert (state.waiting, state.cut) == (2, 2)
    assert state.cut_ms is not None and state.bytes <= 1000
    second = await next_entry(journal, await next_entry(journal))
    assert second.version == 11
    await publish(cache, lease, 14, is_whole=True)  # its copy finds no room, so neither does it
    state = await read_state(store)
    assert (state.waiting, state.cut) == (1, 3)
    await publish(cache, lease, 15)
    assert (await next_entry(journal, second)).version == 15


async def test_the_journal_leaves_a_small_store_room_for_what_is_published(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey("--maxmemory", "12mb", "--maxmemory-policy", "noeviction")
    store = NativeStore(server.url, client_name="test")
    lease = await try_acquire(store, "worker", holder="host:1", ttl_s=30)
    assert lease is not None
    cache, text = CacheManager(store), b"A" * 300_000
    names = ("4h", "1d")
    for version in range(60):
        await publish(cache, lease, version, name=names[version % 2], text=text)
    state = await read_state(store)
    assert (state.waiting + state.cut, state.cut_ms is not None) == (60, True)
    assert 5 <= state.waiting < 40
    # Once the record has taken what waits, the journal takes more.
    journal = Journal(store, [meta_key(name) for name in DOCUMENTS])
    done = None
    while (done := (await journal.take(done)).entry) is not None:
        pass
    await publish(cache, lease, 60, text=text)
    assert (await read_state(store)).waiting == 1
    await lease.release()
    await store.aclose()


@pytest.mark.parametrize("others", [("SET", "x"), ("SADD", "x"), ("HSET", "x", "y")])
async def test_values_of_others_are_replaced(
    cache: CacheManager, lease: Lease, journal: Journal, store: HotStore, others: tuple[str, ...]
) -> None:
    command, *words = others

    async def spoil(key: str) -> None:
        await store.script(command, "return redis.call(unpack(ARGV, 2))").run(
            [], ["", command, store.prefix + key, *words], reply=lambda reply: reply
        )

    await spoil(JOURNAL)
    if command != "HSET":
        await spoil(STATE)
    assert (await journal.take()).entry is None
    assert (await read_state(store)).waiting == 0
    await publish(cache, lease, 10, is_whole=True)
    entry = await next_entry(journal)
    assert entry.version == 10
    if command != "HSET":
        await store.execute("UNLINK", STATE)
        await spoil(STATE)
    assert (await journal.take(entry, {"recorded_at": 7})).entry is None
    assert (await read_state(store)).told["recorded_at"] == "7"


async def test_empty_elements_and_odd_counts_of_others_do_no_harm(
    cache: CacheManager, lease: Lease, journal: Journal, store: HotStore
) -> None:
    odd = "redis.call('RPUSH', KEYS[1], '') return redis.call('HSET', KEYS[2], 'bytes', 'nan')"
    await store.script("odd", odd).run([JOURNAL, STATE], reply=lambda reply: reply)
    await publish(cache, lease, 10)
    assert 400 < (await read_state(store)).bytes < 1000
    entry = await next_entry(journal)
    assert entry.version == 10
    await store.script("odd", odd).run([JOURNAL, STATE], reply=lambda reply: reply)
    taken = await journal.take(entry)
    assert (taken.entry, taken.unreadable, taken.waiting) == (None, None, 0)
    assert taken.versions == {"4h": 10}


async def test_an_element_of_others_is_removed_like_an_entry(
    cache: CacheManager, lease: Lease, journal: Journal, store: HotStore
) -> None:
    await store.script("push", "return redis.call('RPUSH', KEYS[1], ARGV[1])").run(
        [JOURNAL], ["what is this? " * 40], reply=lambda reply: reply
    )
    await publish(cache, lease, 10)
    taken = await journal.take()
    assert taken.entry is None and taken.unreadable is not None and taken.waiting == 2
    assert (await read_state(store)).oldest_ms is None
    after = await journal.take(taken.unreadable)
    assert after.entry is not None and after.entry.version == 10
