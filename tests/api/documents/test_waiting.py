"""Long polls: what ends the wait, and what does not."""

import asyncio

from tests.fixtures.api import ServedApi, get
from tests.fixtures.documents import AS_OF_MS, document
from tests.fixtures.lateness import elapsed


async def test_wait_ends_with_the_next_version(published: ServedApi) -> None:
    _, headers, _ = await get(published, "/cache/4h")
    published.counts.clear()
    path = "/cache/4h?wait=20"
    waiting = [
        asyncio.create_task(get(published, path, If_None_Match=headers["etag"])) for _ in range(20)
    ]
    await published.held.until(20)
    assert not any(waiter.done() for waiter in waiting)
    version = AS_OF_MS + 1
    async with elapsed() as took:
        await published.publish("4h", document(version), version)
        answers = await asyncio.gather(*waiting)
    assert took.own_s < 5
    for status, got, body in answers:
        assert (status, got["etag"].split("-")[0]) == (200, f'"{version}')
        assert body == document(version)
    # None of them has cost a look of its own.
    assert published.counts["versions"] < 20


async def test_wait_ends_without_one(published: ServedApi) -> None:
    _, headers, _ = await get(published, "/cache/4h")
    async with elapsed() as took:
        for validator in (headers["etag"], "*"):
            status, _, _ = await get(published, "/cache/4h?wait=0.2", If_None_Match=validator)
            assert status == 304
    assert took.seconds >= 0.4
    assert took.own_s < 5


async def test_wait_is_not_needed_for_what_is_new(published: ServedApi) -> None:
    for headers in ({}, {"If_None_Match": '"1-old-gzip"'}):
        async with asyncio.timeout(15):
            status, _, _ = await get(published, "/cache/4h?wait=60", **headers)
        assert status == 200


async def test_wait_holds_for_the_first_version(api: ServedApi) -> None:
    status, _, _ = await get(api, "/cache/4h?wait=0.1")
    assert status == 404
    waiting = asyncio.create_task(get(api, "/cache/4h?wait=20"))
    await api.held.until(1)
    assert not waiting.done()
    await api.publish("4h", document(), AS_OF_MS)
    status, _, body = await waiting
    assert (status, body) == (200, document())


async def test_who_waits_is_answered_when_the_server_stops(published: ServedApi) -> None:
    _, headers, _ = await get(published, "/cache/4h")
    waiting = asyncio.create_task(
        get(published, "/cache/4h?wait=60", If_None_Match=headers["etag"])
    )
    await published.held.until(1)
    async with asyncio.timeout(15):
        await published.app.release_waiters()
        status, _, _ = await waiting
    assert status == 304
