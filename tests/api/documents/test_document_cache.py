"""The document cache: shared calls, one computation for many requests, the memory budget."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.documents import document_cache
from api.documents.content_coding import Coding
from api.documents.derived import DerivedBodies
from api.documents.document_cache import CachedDocument, DocumentCache
from api.documents.query import read_query
from api.documents.shared_call import SharedCall
from cache_manager import CacheManager, DocumentMeta, StoredDocument
from documents.names import DOCUMENTS
from documents.text import DocumentText
from stores.hot.store import StoreUnavailable
from tests.fixtures.api import ServedApi
from tests.fixtures.documents import AS_OF_MS, document


class Calls:
    """A call that begins when asked and ends when told."""

    def __init__(self) -> None:
        self.begun = 0
        self.ends: list[asyncio.Future[int]] = []

    async def __call__(self) -> int:
        self.begun += 1
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]


async def ask(shared: SharedCall[int]) -> int:
    return await shared()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_during_a_call_shares_the_next_one() -> None:
    calls = Calls()
    shared = SharedCall(calls)
    first = asyncio.create_task(ask(shared))
    await settle()
    late = [asyncio.create_task(ask(shared)) for _ in range(10)]
    await settle()
    assert calls.begun == 1
    calls.ends[0].set_result(1)
    await settle()
    # What was on its way when they asked may be older than what they have seen.
    assert (first.result(), calls.begun, any(task.done() for task in late)) == (1, 2, False)
    calls.ends[1].set_result(2)
    assert await asyncio.gather(*late) == [2] * 10
    again = asyncio.create_task(ask(shared))
    await settle()
    assert calls.begun == 3
    calls.ends[2].set_result(3)
    assert await again == 3


async def test_one_failure_is_enough_for_all_who_wait() -> None:
    calls = Calls()
    shared = SharedCall(calls)
    tasks = [asyncio.create_task(ask(shared))]
    await settle()
    tasks += [asyncio.create_task(ask(shared)) for _ in range(3)]
    await settle()
    calls.ends[0].set_exception(StoreUnavailable("away"))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away"] * 4
    assert calls.begun == 1
    recovered = asyncio.create_task(ask(shared))
    await settle()
    calls.ends[1].set_result(7)
    assert await recovered == 7


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    calls = Calls()
    shared = SharedCall(calls)
    tasks = [asyncio.create_task(ask(shared)) for _ in range(2)]
    await settle()
    tasks += [asyncio.create_task(ask(shared)) for _ in range(2)]
    await settle()
    tasks[0].cancel()
    tasks[2].cancel()
    await settle()
    calls.ends[0].set_result(1)
    await settle()
    calls.ends[1].set_result(2)
    assert (await tasks[1], await tasks[3]) == (1, 2)
    assert calls.begun == 2
    await shared.aclose()


async def test_the_end_of_the_service_is_told_to_who_waits() -> None:
    calls = Calls()
    shared = SharedCall(calls)
    tasks = [asyncio.create_task(ask(shared))]
    await settle()
    tasks.append(asyncio.create_task(ask(shared)))
    await settle()
    await shared.aclose()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["the service is stopping"] * 2


def maker(value: str, size: int, made: list[str]) -> Callable[[], Awaitable[tuple[str, int]]]:
    async def make() -> tuple[str, int]:
        made.append(value)
        await asyncio.sleep(0)
        return value, size

    return make


async def test_derived_values_are_made_once_and_within_the_budget() -> None:
    each = 1000  # counted for a value's key and place, beside its size
    derived, made = DerivedBodies(100 + 2 * each), list[str]()
    same = [derived.get(("4h", 1, b"a"), maker("a", 60, made)) for _ in range(10)]
    assert await asyncio.gather(*same) == ["a"] * 10
    assert made == ["a"]
    await derived.get(("4h", 1, b"b"), maker("b", 30, made))
    await derived.get(("4h", 1, b"a"), maker("a", 60, made))
    await derived.get(("8h", 1, b"c"), maker("c", 40, made))  # over the budget: b goes first
    await derived.get(("4h", 1, b"a"), maker("a", 60, made))
    assert made == ["a", "b", "c"]
    await derived.get(("8h", 2, b"huge"), maker("huge", 1000, made))
    await derived.get(("8h", 2, b"huge"), maker("huge", 1000, made))
    assert made == ["a", "b", "c", "huge"]
    derived.drop("8h")
    await derived.get(("4h", 1, b"d"), maker("d", 100, made))
    await derived.get(("4h", 1, b"d"), maker("d", 100, made))
    assert made == ["a", "b", "c", "huge", "d"]
    await derived.aclose()


async def test_computations_in_progress_hold_few_texts(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of queries to all documents, with a cache that keeps no two texts."""
    for name in DOCUMENTS:
        await native_api.publish(name, document(rows=100), AS_OF_MS)
    alive: weakref.WeakSet[DocumentText] = weakref.WeakSet()
    most = 0
    inflate, cut = document_cache._inflate, document_cache._filter

    class Text(DocumentText):
        """A text that can be referred to weakly."""

    def inflated(document: CachedDocument) -> DocumentText:
        text = Text(inflate(document).text)
        alive.add(text)
        return text

    def count(text: Any, wanted: Any, coding: Any) -> Any:
        nonlocal most
        most = max(most, len(alive))
        return cut(text, wanted, coding)

    monkeypatch.setattr(document_cache, "_inflate", inflated)
    monkeypatch.setattr(document_cache, "_filter", count)
    documents = DocumentCache(CacheManager(native_api.store), derived_bytes=1)
    copies = [await documents.current(name) for name in DOCUMENTS]
    queries = [read_query(b"since=%d" % n) for n in range(6)]
    asked = [(copy, query) for query in queries for copy in copies if copy is not None]
    assert len(asked) == 6 * len(DOCUMENTS)
    await asyncio.gather(*(documents.body(*one, Coding.IDENTITY) for one in asked))
    # Two threads work; the cache keeps the newest value; a task may not have let go of its own yet.
    assert 0 < most <= 5 < len(DOCUMENTS)
    await documents.aclose()


class Clock:
    """Stands still but for what is added."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


class LateStore(CacheManager):
    """Each look at a version takes so long."""

    def __init__(self, cache: CacheManager, clock: Clock, takes_s: float) -> None:
        super().__init__(cache.store)
        self._clock = clock
        self._takes_s = takes_s

    async def read_meta(self, name: str) -> DocumentMeta | None:
        meta = await super().read_meta(name)
        self._clock.s += self._takes_s
        return meta


async def test_the_newest_version_is_known_for_a_moment_without_another_look(
    native_api: ServedApi,
) -> None:
    clock = Clock()
    documents = DocumentCache(native_api.cache, monotonic_s=clock)
    await native_api.publish("4h", document(), AS_OF_MS)
    assert documents.newest_within("4h", 60) is None  # nobody has looked
    first = await documents.current("4h")
    assert first is not None
    await native_api.publish("4h", document(), AS_OF_MS + 1)
    clock.s += 0.02
    assert documents.newest_within("4h", 0.0201) is first
    clock.s += 0.001
    assert documents.newest_within("4h", 0.0201) is None
    second = await documents.current("4h")
    assert second is not None
    assert second.meta.version == AS_OF_MS + 1
    assert documents.newest_within("4h", 0.0201) is second
    await native_api.store.execute("DEL", "cache:4h", "cache:4h:meta")
    assert await documents.current("4h") is None
    assert documents.newest_within("4h", 60) is None
    await documents.aclose()


async def test_a_moment_begins_when_the_store_is_asked(native_api: ServedApi) -> None:
    """What came while it answered may not be in its answer."""
    clock = Clock()
    documents = DocumentCache(LateStore(native_api.cache, clock, 3.0), monotonic_s=clock)
    await native_api.publish("4h", document(), AS_OF_MS)
    held = await documents.current("4h")
    assert documents.newest_within("4h", 3.1) is held is not None
    assert documents.newest_within("4h", 2.9) is None
    await documents.aclose()


async def test_what_fails_is_tried_again() -> None:
    derived = DerivedBodies(100)

    async def fail() -> tuple[str, int]:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await derived.get(("4h",), fail)
    assert await derived.get(("4h",), maker("yes", 1, [])) == "yes"
    await derived.aclose()


async def test_a_document_is_inflated_once_for_all_that_is_asked_of_it(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await native_api.publish("4h", document(rows=100), AS_OF_MS)
    inflated: list[DocumentMeta] = []
    inflate = StoredDocument.inflate

    def count(self: StoredDocument) -> bytes:
        inflated.append(self.meta)
        return inflate(self)

    monkeypatch.setattr(StoredDocument, "inflate", count)
    documents = DocumentCache(CacheManager(native_api.store))
    copy = await documents.current("4h")
    assert copy is not None
    queries = (b"", b"limit=1", b"symbol=BTCUSDT", b"closed=true", b"exchange=bybit")
    wanted = [read_query(query) for query in queries]
    asked = [
        documents.body(copy, want, coding) for want in wanted for coding in Coding for _ in "ab"
    ]
    bodies = await asyncio.gather(*asked)
    assert len(inflated) == 1
    for body in bodies:
        assert body.length == sum(map(len, body.parts))
    await documents.aclose()
