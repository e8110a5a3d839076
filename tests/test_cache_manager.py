"""Documents in both kinds of store: atomic publishes, rising versions, the stored format."""

import asyncio
import base64
import hashlib
import json
import random
import sys
import time
import zlib
from typing import Any

import pytest

from cache_manager import CacheManager, DamagedDocument, DocumentMeta, StaleVersion, StoredDocument
from documents.deflated import deflate, join_parts
from documents.names import DOCUMENTS
from market.timeframes import Timeframe
from stores.hot.leases import Lease, try_acquire
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.cache import PIECE_BYTES, document, save
from tests.fixtures.cpu_time import slowness, without_collection
from tests.fixtures.upstash import OpenStore, UpstashEndpoint


async def test_a_document_is_read_as_it_was_saved(cache: CacheManager, lease: Lease) -> None:
    assert await cache.read("4h") is None
    assert await cache.read_meta("4h") is None
    assert await cache.get_from_cache("4h") is None
    meta = await save(cache, lease, 10)
    text = document(10)
    assert (meta.name, meta.version, meta.as_of_ms, meta.updated_at_ms) == ("4h", 10, 9, 11)
    assert meta.json_bytes == len(text)
    assert await cache.read_meta("4h") == meta
    stored = await cache.read("4h")
    assert stored is not None and stored.meta == meta
    assert zlib.decompress(stored.deflated) == text  # one zlib stream, by another decoder
    assert stored.inflate() == text
    assert await cache.get_from_cache("4h") == json.loads(text)


async def test_the_value_is_plain_for_any_client(
    cache: CacheManager, lease: Lease, redis_url: str
) -> None:
    meta = await save(cache, lease, 10)
    plain = NativeStore(redis_url, client_name="any")
    value = await plain.execute("GET", "cache:4h")
    assert zlib.decompress(base64.b64decode(value, validate=True)) == document(10)
    assert len(value) == meta.stored_bytes > 2 * PIECE_BYTES
    assert await plain.execute("TTL", "cache:4h") == -1
    left = sorted(await plain.execute("KEYS", "*"))
    lock = [b"lock:worker", b"lock:worker:token"]
    assert left == [b"cache:4h", b"cache:4h:meta", b"events", *lock]
    await plain.aclose()


async def test_what_is_compressed_already_is_stored_as_it_is(
    cache: CacheManager, lease: Lease
) -> None:
    text = document(10)
    parts = join_parts(deflate(text[at : at + 1000]) for at in range(0, len(text), 1000))
    meta = await cache.save_to_cache(
        "4h", parts, version=10, as_of_ms=9, updated_at_ms=11, lease=lease
    )
    stored = await cache.read("4h")
    assert stored is not None and stored.meta == meta
    assert stored.deflated == b"".join(parts.pieces)
    assert stored.inflate() == text and meta.json_bytes == len(text)


async def test_what_an_earlier_version_stored_is_read(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    # Its content hash was of the JSON.
    text = document(10)
    stream = zlib.compress(text)
    value = base64.b64encode(stream)
    hashed = [hashlib.blake2b(data, digest_size=8).hexdigest() for data in (text, stream)]
    meta = {
        "version": 10,
        "content_hash": hashed[0],
        "updated_at": 11,
        "as_of": 9,
        "stored_bytes": len(value),
        "json_bytes": len(text),
        "stored_hash": hashed[1],
    }
    await store.execute("SET", "cache:4h", value)
    await store.execute("SET", "cache:4h:meta", json.dumps(meta))
    stored = await cache.read("4h")
    assert stored is not None and stored.inflate() == text
    assert (await save(cache, lease, 11)).version == 11


@pytest.mark.parametrize("size", [0, 1, 2, 3, 2_999, 3_000, 3_001, 200_000])
async def test_every_size_survives(cache: CacheManager, lease: Lease, size: int) -> None:
    text = random.Random(size).randbytes(size)  # noqa: S311
    meta = await save(cache, lease, 10, text)
    stored = await cache.read("4h")
    assert stored is not None and stored.meta == meta and stored.inflate() == text


async def test_versions_rise(cache: CacheManager, lease: Lease, store: HotStore) -> None:
    assert await cache.next_version("4h", 1000) == 1000
    await save(cache, lease, 1000)
    assert await cache.next_version("4h", 900) == 1001
    assert await cache.next_version("4h", 1000) == 1001
    assert await cache.next_version("4h", 5000) == 5000
    await store.execute("DEL", "cache:4h", "cache:4h:meta")
    assert await cache.next_version("4h", 5000) == 5000  # the store was lost: as_of still rises


async def test_publications_have_the_time_of_the_store(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    seconds, _ = await store.execute("TIME")
    first = await save(cache, lease, 10)
    ended, _ = await store.execute("TIME")
    assert int(seconds) * 1000 <= first.published_ms <= int(ended) * 1000 + 1000
    # The clock of the store was ahead, and is set back.
    ahead = first.published_ms + 3_600_000
    text = await store.execute("GET", "cache:4h:meta")
    moved = text.replace(b"%d" % first.published_ms, b"%d" % ahead)
    await store.execute("SET", "cache:4h:meta", moved)
    second = await save(cache, lease, 11)
    assert second.published_ms == ahead + 1
    assert await cache.read_meta("4h") == second
    # No clock leads to this one.
    absurd = moved.replace(b"%d" % ahead, b"%d" % (10**14 - 1))
    await store.execute("SET", "cache:4h:meta", absurd)
    third = await save(cache, lease, 12)
    assert first.published_ms < third.published_ms < ahead
    # A meta of an earlier release has no such time.
    old = text[: text.index(b',"published_at"')] + b"}"
    await store.execute("SET", "cache:4h:meta", old)
    kept = await cache.read_meta("4h")
    assert kept is not None and (kept.version, kept.published_ms) == (10, 0)
    assert third.published_ms < (await save(cache, lease, 13)).published_ms < ahead


async def test_an_older_document_never_replaces_a_newer_one(
    cache: CacheManager, lease: Lease
) -> None:
    kept = await save(cache, lease, 10)
    for version, text in ((9, document(9)), (10, document(11))):
        with pytest.raises(StaleVersion):
            await save(cache, lease, version, text)
    assert await cache.read_meta("4h") == kept
    assert await cache.get_from_cache("4h") == json.loads(document(10))
    assert (await save(cache, lease, 11)).version == 11


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cache:4h", "not base64!"),
        ("cache:4h", base64.b64encode(zlib.compress(b"another document"))),
        ("cache:4h", ""),
        ("cache:4h", None),
    ],
)
async def test_damage_is_told_and_repaired_by_the_next_publish(
    cache: CacheManager, lease: Lease, store: HotStore, key: str, value: bytes | None
) -> None:
    await save(cache, lease, 10)
    await store.execute(*(("DEL", key) if value is None else ("SET", key, value)))
    with pytest.raises(DamagedDocument, match="cache:4h"):
        await cache.read("4h")
    await save(cache, lease, 11)
    assert await cache.get_from_cache("4h") == json.loads(document(11))


async def test_one_changed_byte_is_damage(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    await save(cache, lease, 10)
    old = await store.execute("GETRANGE", "cache:4h", 5_000, 5_000)
    await store.execute("SETRANGE", "cache:4h", 5_000, b"A" if old != b"A" else b"B")
    with pytest.raises(DamagedDocument):
        await cache.read("4h")


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"version":"x"}', '{"version":12}'])
async def test_an_unreadable_meta_is_none_and_does_not_stop_the_next_publish(
    cache: CacheManager, lease: Lease, store: HotStore, text: str
) -> None:
    await save(cache, lease, 10)
    await store.execute("SET", "cache:4h:meta", text)
    assert await cache.read_meta("4h") is None
    assert await cache.read("4h") is None
    await save(cache, lease, 13)
    assert await cache.get_from_cache("4h") == json.loads(document(13))


def test_a_stream_that_is_not_its_json_is_damage() -> None:
    meta = DocumentMeta("4h", 1, "0" * 16, 1, 1, 1, 3, "0" * 16)
    for deflated in (zlib.compress(b"xyz"), b"", b"no stream"):
        with pytest.raises(DamagedDocument):
            StoredDocument(meta, deflated).inflate()


async def test_names_are_a_fixed_set(cache: CacheManager, lease: Lease, store: HotStore) -> None:
    assert set(DOCUMENTS) == {*(str(timeframe) for timeframe in Timeframe), "global_fr"}
    for name in ("", "7m", "4h:meta", "../x", "*"):
        with pytest.raises(ValueError, match="unknown document"):
            await cache.read(name)
        with pytest.raises(ValueError, match="unknown document"):
            await cache.read_metas(["4h", name])
        with pytest.raises(ValueError, match="unknown document"):
            await cache.next_version(name, 1)
    assert await store.execute("KEYS", "cache:*") == []


async def test_what_reading_costs(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    cache = CacheManager(store)
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    await save(cache, lease, 10)
    upstash.fail("")
    metas = await cache.read_metas(["4h", "8h", "global_fr"])
    assert [meta and meta.version for meta in metas.values()] == [10, None, None]
    assert upstash.commands() == {"MGET": 1}
    await cache.read("4h")
    assert upstash.commands() == {"MGET": 2, "GETRANGE": 1}
    await lease.release()
    await store.aclose()


async def test_a_reader_between_two_versions_gets_one_of_them(
    cache: CacheManager, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(cache, lease, 10)
    execute, publishes = store.execute, [11, 12]

    async def publish_after_a_piece(*command: Any, **options: Any) -> Any:
        reply = await execute(*command, **options)
        if command[0] == "GETRANGE" and command[2] == PIECE_BYTES and publishes:
            await save(cache, lease, publishes.pop(0), None)
        return reply

    monkeypatch.setattr(store, "execute", publish_after_a_piece)
    stored = await cache.read("4h")
    assert stored is not None
    assert stored.inflate() == document(stored.meta.version)
    assert stored.meta.version == 12


async def test_readers_never_see_a_mix_or_go_back(
    open_store: OpenStore, cache: CacheManager, lease: Lease
) -> None:
    await save(cache, lease, 1)
    stop, has_read = asyncio.Event(), asyncio.Event()
    seen: list[list[int]] = []

    async def read() -> None:
        reader = CacheManager(open_store(), piece_bytes=PIECE_BYTES)
        versions: list[int] = []
        seen.append(versions)
        while not stop.is_set():
            stored = await reader.read("4h")
            assert stored is not None
            assert stored.inflate() == document(stored.meta.version, 20_000)
            versions.append(stored.meta.version)
            has_read.set()

    await save(cache, lease, 2, document(2, 20_000))
    async with asyncio.TaskGroup() as readers:
        for _ in range(4):
            readers.create_task(read())
        for version in range(3, 25):
            await save(cache, lease, version, document(version, 20_000))
            has_read.clear()
            await has_read.wait()  # by one of them; the others are in the middle of theirs
        stop.set()
    for versions in seen:
        assert versions == sorted(versions)
    assert len({version for versions in seen for version in versions}) > 5


async def test_large_documents_leave_the_event_loop_free(store: HotStore, lease: Lease) -> None:
    """No limit is asserted tightly: this catches work that was forgotten on the loop."""
    cache = CacheManager(store)
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            # This process's CPU, not the clock: what other programs take does not count.
            began = time.process_time()
            await asyncio.sleep(0.001)
            worst = max(worst, time.process_time() - began)

    for version in range(10, 15):  # a machine that is busy at the wrong moment may try again
        text, worst = document(version, 12_000_000), 0.0
        with without_collection():
            watching = asyncio.create_task(watch())
            await save(cache, lease, version, text)
            stored = await cache.read("4h")
            await asyncio.sleep(0.01)
            watching.cancel()
        if worst < 0.2:
            break
    assert worst < 0.2 * slowness()
    assert stored is not None and stored.meta.json_bytes == len(text)
    assert stored.meta.stored_bytes > 3_000_000
    assert sys.getsizeof(stored.deflated) < 0.8 * stored.meta.stored_bytes
