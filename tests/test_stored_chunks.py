"""The stored index of a document's chunks: published with it, and used for no other document."""

import base64
import json
import zlib
from typing import Any

import pytest

from cache_manager import CacheManager, StaleVersion, StoredDocument
from documents.chunk_index import ChunkedDocument
from stores.hot.leases import Lease
from stores.hot.store import HotStore, StoreUnavailable
from tests.fixtures.cache import document, save
from tests.fixtures.chunked import chunked_document

KEY = "cache:4h:chunks"


async def publish(
    cache: CacheManager, lease: Lease, version: int, price: float = 1.5
) -> ChunkedDocument:
    made = chunked_document(version, price)
    await cache.save_to_cache(
        "4h", made, version=version, as_of_ms=9, updated_at_ms=11, lease=lease
    )
    return made


async def stored(cache: CacheManager) -> StoredDocument:
    found = await cache.read("4h")
    assert found is not None
    return found


async def test_the_index_is_stored_in_plain_words(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    made = await publish(cache, lease, 10)
    (text,) = await store.execute("MGET", KEY)
    index = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    meta = await cache.read_meta("4h")
    assert meta is not None
    assert (index["version"], index["stored_hash"]) == (10, meta.stored_hash)
    assert index["markets"] == [
        ["binance", "BTCUSDT", 4],
        ["binance", "ETHUSDT", 4],
        ["bybit", "BTCUSDT", 4],
    ]
    assert sum(index["rows"]) == 3 * 200
    assert index["interval_ms"] == 4 * 3_600_000
    found = await stored(cache)
    assert found.inflate() == made.inflate()
    chunks = found.chunks()
    assert chunks is not None
    assert list(chunks.rows) == list(made.index.rows)


async def test_a_read_costs_no_command_more(
    cache: CacheManager, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(cache, lease, 10)
    commands: list[Any] = []
    execute = store.execute

    async def count(*command: Any, **options: Any) -> Any:
        commands.append(command[:3])
        return await execute(*command, **options)

    monkeypatch.setattr(store, "execute", count)
    await stored(cache)
    assert commands[0] == ("MGET", "cache:4h:meta", KEY)
    assert {command[0] for command in commands[1:]} == {"GETRANGE"}


async def test_a_document_without_chunks_removes_the_index_before(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    await publish(cache, lease, 10)
    await save(cache, lease, 11)
    assert await store.execute("MGET", KEY) == [None]
    assert (await stored(cache)).chunks() is None
    await publish(cache, lease, 12)
    assert (await stored(cache)).chunks() is not None


async def test_a_refused_publish_leaves_the_index(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    await publish(cache, lease, 10)
    before = await store.execute("MGET", KEY)
    with pytest.raises(StaleVersion):
        await publish(cache, lease, 10, price=2.5)
    assert await store.execute("MGET", KEY) == before


async def test_a_publish_whose_answer_was_lost_is_complete(
    cache: CacheManager, lease: Lease, store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, lost = store.execute, [1]

    async def lose_the_answer(*command: Any, **options: Any) -> Any:
        reply = await execute(*command, **options)
        if KEY in command and lost and reply == b"ok":
            lost.pop()
            raise StoreUnavailable("the answer was lost")
        return reply

    monkeypatch.setattr(store, "execute", lose_the_answer)
    await publish(cache, lease, 10)
    assert lost == []
    assert (await stored(cache)).chunks() is not None


async def test_an_index_of_another_document_is_not_used(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    """A host of the release before publishes a document and leaves our index; or a store that was
    stopped between two keys, or lost one of them, has them of two versions."""
    await publish(cache, lease, 10)
    (earlier,) = await store.execute("MGET", KEY)
    await publish(cache, lease, 11)
    await store.execute("SET", KEY, earlier)
    assert (await stored(cache)).chunks() is None

    await publish(cache, lease, 12, price=2.5)
    (other,) = await store.execute("MGET", KEY)
    await store.execute("UNLINK", "cache:4h", "cache:4h:meta")
    assert await cache.read("4h") is None  # the index alone is no document
    await publish(cache, lease, 12)
    await store.execute("SET", KEY, other)
    assert (await stored(cache)).chunks() is None


@pytest.mark.parametrize("value", ["", "not base64!", "AAAA", "{}", base64.b64encode(b"x" * 500)])
async def test_a_damaged_index_costs_no_document(
    cache: CacheManager, lease: Lease, store: HotStore, value: str
) -> None:
    made = await publish(cache, lease, 10)
    await store.execute("SET", KEY, value)
    found = await stored(cache)
    assert found.chunks() is None
    assert found.inflate() == made.inflate()
    await publish(cache, lease, 11)
    assert (await stored(cache)).chunks() is not None


async def test_a_value_of_another_type_is_replaced(
    cache: CacheManager, lease: Lease, store: HotStore
) -> None:
    await store.execute("EVAL", "redis.call('RPUSH', KEYS[1], 'x')", 1, KEY)
    await save(cache, lease, 9)
    await store.execute("EVAL", "redis.call('RPUSH', KEYS[1], 'x')", 1, KEY)
    assert (await stored(cache)).inflate() == document(9)
    await publish(cache, lease, 10)
    assert (await stored(cache)).chunks() is not None
