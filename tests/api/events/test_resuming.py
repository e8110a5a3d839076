"""Listeners that come back: at any process, exactly once, in order, or with a reset."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from documents.names import SERVED
from stores.hot.event_log import MOST_EVENTS
from tests.api.events.streams import Event, listening
from tests.api.events.test_stream import changes, publish
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.documents import AS_OF_MS
from tests.fixtures.service import StartService
from tests.fixtures.upstash import OwnValkey

KEPT = "events:changes:5m:13"
JOBS = [f"collect:{name}" for name in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")]


def is_reset(event: Event, *documents: str) -> bool:
    return event.kind == "reset" and event.data["documents"] == [*(documents or SERVED)]


async def test_a_listener_goes_on_at_another_process(
    start_api: StartApi, store_settings: dict[str, Any]
) -> None:
    one = await start_api(**store_settings)
    two = await start_api(**store_settings)
    async with listening(one.port, "timeframe=5m") as witness:
        async with listening(one.port, "timeframe=5m") as stream:
            await one.queue.request(JOBS[0])
            await stream.next()
        await one.queue.request(JOBS[1])
        await publish(one, 7, changes(0))
        # It comes back in the midst of what one publish tells.
        everything = await witness.take(5)
        assert [e.kind for e in everything] == ["job", "job", "document", "candles", "stale"]
        for got, event in enumerate(everything, 1):
            for api in (one, two):
                async with listening(api.port, "timeframe=5m", event.id) as back:
                    assert await back.take(5 - got) == everything[got:]
                async with listening(api.port, f"timeframe=5m&last_event_id={event.id}") as back:
                    assert await back.take(5 - got) == everything[got:]
        # The header, which a browser sends with the old address, is the newer one.
        old = f"last_event_id={everything[0].id}"
        async with listening(two.port, old, everything[-1].id) as back:
            await two.queue.request(JOBS[2])
            assert (await back.next()).data["id"] == JOBS[2]
        assert (await witness.next()).data["id"] == JOBS[2]


async def test_ids_that_are_not_in_the_log_are_reset(api: ServedApi) -> None:
    await api.queue.request(JOBS[0])
    async with listening(api.port) as stream:
        await api.queue.request(JOBS[1])
        last = await stream.next()
        at_ms = last.data["at"]
        for other in (
            *("0-0", "1-0", f"{at_ms + 86_400_000}-0", f"{at_ms}-77", "x", "1", "-", "9" * 50),
            *(f"{last.id}.4", "1e3-0", f"{10**18}-0", f"{at_ms}-{10**19}", "é"),
        ):
            async with listening(api.port, f"last_event_id={other}") as back:
                reset = await back.next()
                assert is_reset(reset), other
                assert reset.id == last.id
        async with listening(api.port, "timeframe=4h,8h", "1-0") as back:
            assert is_reset(await back.next(), "4h", "8h")
            # It goes on behind what it was told.
            await api.queue.request(JOBS[2])
            assert (await back.next()).data["id"] == JOBS[2]
        async with listening(api.port, "", reset.id) as back:
            assert (await back.next()).data["id"] == JOBS[2]


async def test_the_log_is_capped_and_what_left_it_is_reset(native_api: ServedApi) -> None:
    api = native_api
    async with listening(api.port) as stream:
        await api.queue.request(JOBS[0])
        first = await stream.next()
        await api.queue.request(JOBS[1])
        second = await stream.next()
    more = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'kind', 'of later') end"
    await api.store.execute("EVAL", more, 1, "events", MOST_EVENTS - 1)
    await api.queue.request(JOBS[2])
    length = await api.store.execute("EVAL", "return redis.call('XLEN', KEYS[1])", 1, "events")
    assert length == MOST_EVENTS
    async with listening(api.port) as stream:
        kept = stream.last_id
    await api.store.execute("EVAL", "redis.call('XTRIM', KEYS[1], 'MAXLEN', 1)", 1, "events")
    await api.queue.request(JOBS[3])
    for gone in (first, second):
        async with listening(api.port, "", gone.id) as back:
            assert is_reset(await back.next())
    async with listening(api.port, "", kept) as back:
        assert (await back.next()).data["id"] == JOBS[3]


async def test_what_a_version_changes_is_told_only_if_it_leads_from_the_version_before(
    start_api: StartApi, store_settings: dict[str, Any]
) -> None:
    api = await start_api(**store_settings)
    async with listening(api.port, "event=candles,document&timeframe=5m") as stream:
        await publish(api, 7, changes(0))
        assert [e.kind for e in await stream.take(2)] == ["document", "candles"]
        for version, known in ((8, changes(6)), (9, None), (11, changes(0))):
            await publish(api, version, known)
            told, reset = await stream.take(2)
            assert (told.kind, told.data["version"]) == ("document", version)
            assert is_reset(reset, "5m"), version
        await publish(api, 12, changes(11))
        last = (await stream.take(2))[-1]
        assert last.kind == "candles"
    await publish(api, 13, changes(12))
    ttl_s = await api.store.execute("EVAL", "return redis.call('TTL', KEYS[1])", 1, KEPT)
    assert 3500 < ttl_s <= 3600
    async with listening(api.port, "event=candles,document&timeframe=5m", last.id) as stream:
        assert [e.kind for e in await stream.take(2)] == ["document", "candles"]
    # What is no longer kept cannot be told.
    await api.store.execute("UNLINK", KEPT)
    other = await start_api(**store_settings)
    async with listening(other.port, "event=candles,document&timeframe=5m", last.id) as stream:
        assert (await stream.next()).kind == "document"
        assert is_reset(await stream.next(), "5m")


async def test_publishes_of_the_release_before_are_told_without_ids(
    start_api: StartApi, store_settings: dict[str, Any]
) -> None:
    api = await start_api(**store_settings)
    await publish(api, 7, changes(0))
    meta = (await api.store.execute("MGET", "cache:5m:meta"))[0]

    async def publish_as_before(version: int) -> None:
        text = meta.replace(b'"version":7', b'"version":%d' % version)
        await api.store.execute("SET", "cache:5m:meta", text)
        if api.store.kind == "native":
            await api.store.execute("EVAL", "redis.call('PUBLISH', ARGV[1], '')", 0, "published")

    async with (
        listening(api.port, "event=document") as stream,
        listening(api.port, "event=candles&timeframe=5m") as candles,
    ):
        joined_at = stream.last_id
        await publish_as_before(8)
        told = await stream.next()
        assert (told.kind, told.data["version"], told.data["as_of"]) == ("document", 8, AS_OF_MS)
        assert is_reset(await candles.next(), "5m")
        await publish(api, 9, changes(8))
        after = await stream.next()
        assert after.data["version"] == 9
        assert (await candles.next()).kind == "candles"
        assert told.id == joined_at != after.id
        await publish_as_before(10)
        assert (await stream.next()).data["version"] == 10
    async with listening(api.port, "event=document", after.id) as back:
        assert (await back.next()).data["version"] == 10
    # A process that finds it there tells it to those who come back, too.
    other = await start_api(**store_settings)
    async with listening(other.port, "event=document", after.id) as back:
        assert (await back.next()).data["version"] == 10


async def test_a_killed_process_loses_nothing(
    start_service: StartService, redis_url: str, database_url: str
) -> None:
    stores = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    killed = await start_service("api", **stores)
    async with listening(_port(killed.address)) as stream:
        await killed.post("/get-market-data", {"timeframe": "4h"})
        last = await stream.next()
        assert last.data["state"] == "queued"
        os.kill(killed.process.pid, signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await stream.next()
    next_one = await start_service("api", **stores)
    for timeframe in ("5m", "1h"):
        await next_one.post("/get-market-data", {"timeframe": timeframe})
    async with listening(_port(next_one.address), "", last.id) as back:
        assert [e.data["id"] for e in await back.take(2)] == ["collect:5m", "collect:1h"]
        # One that is told to stop ends its streams as HTTP does, at once.
        stopping = asyncio.create_task(next_one.stop())
        await back.until_end()
        assert await stopping == 0


async def test_listeners_stay_while_the_store_is_away(
    own_valkey: Callable[..., OwnValkey], start_api: StartApi
) -> None:
    server = own_valkey()
    api = await start_api(redis_url=server.url)
    async with listening(api.port) as stream:
        await api.queue.request(JOBS[0])
        first = await stream.next()
        server.kill()
        async with listening(api.port, "", first.id) as joined:  # by what the process knows
            server.start()
            await api.queue.request(JOBS[1])
            assert (await stream.next()).data["id"] == JOBS[1]
            second = await joined.next()
            assert second.data["id"] == JOBS[1]
        # Another store, or one that has lost everything.
        await api.store.execute("EVAL", "redis.call('FLUSHALL')", 0)
        await api.queue.request(JOBS[2])
        reset = await stream.next()
        assert is_reset(reset)
        await api.queue.request(JOBS[3])
        assert (await stream.next()).data["id"] == JOBS[3]
        async with listening(api.port, "", second.id) as back:
            assert is_reset(await back.next())
        async with listening(api.port, "", reset.id) as back:
            assert (await back.next()).data["id"] == JOBS[3]
        server.kill()
        # Nobody knows whether this id is one of a later event.
        far = f"{first.data['at'] + 10**6}-0"
        async with api.http.get("/events", headers={"Last-Event-ID": far}) as answer:
            assert answer.status == 503
        server.start()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
