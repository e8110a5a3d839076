"""One run of a worker here and now: functions, threads and classes, on a real hot store."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web

from cache_manager import CacheManager
from config import load_settings
from job_queue.queue import JobQueue
from perpcache.workers import Context, RunLost, ScheduleBaseWorker, schedule, websocket
from stores.hot.store import HotStore
from tests.workers.local_http import serving
from workers import declared
from workers.asking import Asker
from workers.context import ContextMaker
from workers.here import CannotRunHere, TookTooLong, UnknownWorker, run_here
from workers.registry import Registry


class Here:
    """Runs what was declared in a test."""

    def __init__(self, maker: ContextMaker, before: int) -> None:
        self._maker = maker
        self._before = before

    async def run(self, name: str, input: dict[str, Any] | None = None) -> Any:
        made = [one.definition for one in declared.DECLARED[self._before :]]
        registry = Registry({one.name: one for one in made if one is not None})
        return await run_here(registry, self._maker, name, host="here", input=input)


@pytest.fixture
def here(
    store: HotStore, queue: JobQueue, cache: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> Here:
    monkeypatch.setattr(declared, "DECLARED", declared.DECLARED)
    maker = ContextMaker(load_settings(), store, Asker(queue, cache, ("5m", "15m")))
    return Here(maker, len(declared.DECLARED))


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def page(request: web.Request) -> web.Response:
        return web.json_response({"values": [1, 2, 3]})

    app = web.Application()
    app.router.add_get("/", page)
    async with serving(app) as served:
        yield served.url


async def test_functions_and_classes_async_and_not_run_alike(here: Here, address: str) -> None:
    @schedule("0 15 * * 1-5")
    async def of_loop(job: Context) -> int:
        return len((await job.http().get(address)).json()["values"])

    @schedule("0 15 * * 1-5")
    def of_thread(job: Context) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return len(job.wait(job.http().get(address)).json()["values"])

    @schedule("0 15 * * 1-5")
    class OfLoop2(ScheduleBaseWorker):
        async def run(self) -> int:
            return len((await self.job.http().get(address)).json()["values"])

    @schedule("0 15 * * 1-5")
    class OfThread2(ScheduleBaseWorker):
        def run(self) -> int:
            return len(self.job.wait(self.job.http().get(address)).json()["values"])

    for name in ("of_loop", "of_thread", "of_loop2", "of_thread2"):
        assert await here.run(name) == 3, name


async def test_a_run_knows_what_it_is(here: Here, store: HotStore) -> None:
    @schedule(every="5m")
    async def knows(job: Context) -> dict[str, Any]:
        await job.redis.execute("SET", "told", "x")
        await job.still_ours()
        with pytest.raises(RuntimeError, match="declare one with @database"):
            job.unit_of_work("main")
        with pytest.raises(RuntimeError, match="only a WebSocket worker"):
            job.messages()
        return {"name": job.name, "run": job.run, "attempt": job.attempt, "input": job.input}

    told = await here.run("knows", {"day": 3})
    assert told == {"name": "knows", "run": None, "attempt": 1, "input": {"day": 3}}
    assert await store.execute("GET", "told") == b"x"


async def test_lines_of_a_run_name_its_worker(here: Here) -> None:
    seen: list[dict[str, Any]] = []

    @schedule()
    async def in_loop(job: Context) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    @schedule()
    def in_a_thread(job: Context) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    await here.run("in_loop")
    await here.run("in_a_thread")
    assert seen == [{"worker": "in_loop"}, {"worker": "in_a_thread"}]
    assert structlog.contextvars.get_contextvars() == {}


async def test_a_refresh_asks_for_what_it_has_not_asked_for(here: Here, queue: JobQueue) -> None:
    @schedule(every="5m", kind="refresh", timeframes="5m,15m", jobs="funding")
    async def asks(job: Context) -> str:
        asked = await job.ask("collect:15m")
        return asked.id

    @schedule(every="5m", kind="refresh", timeframes="1h")
    def asks_in_thread(job: Context) -> None: ...

    assert await here.run("asks") == "collect:15m"
    assert [job.id for job in reversed(await queue.list())] == [
        "collect:15m",
        "collect:5m",
        "funding",
    ]
    await here.run("asks_in_thread")
    assert (await queue.list())[0].id == "collect:1h"


async def test_errors_come_as_they_are(here: Here) -> None:
    @schedule()
    async def fails(job: Context) -> None:
        raise TimeoutError("of its own")

    @schedule()
    def fails_in_thread(job: Context) -> None:
        async def late() -> None:
            raise TimeoutError("of its own")

        job.wait(late())

    for name in ("fails", "fails_in_thread"):
        with pytest.raises(TimeoutError, match="of its own"):
            await here.run(name)


async def test_a_run_ends_at_its_timeout(here: Here) -> None:
    ended: list[str] = []
    thread_ended = threading.Event()

    @schedule(timeout=0.05)
    async def slow(job: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    @schedule(timeout=0.05)
    def slow_in_thread(job: Context) -> None:
        try:
            job.wait(asyncio.Event().wait())
        except RunLost:
            ended.append("thread")
            thread_ended.set()

    for name in ("slow", "slow_in_thread"):
        with pytest.raises(TookTooLong, match=rf"{name}: did not end within its timeout of 0\.05"):
            await here.run(name)
    assert await asyncio.to_thread(thread_ended.wait, 60)
    assert ended == ["slow", "thread"]


async def test_names_that_cannot_run_are_refused(here: Here) -> None:
    @schedule()
    async def fund_values(job: Context) -> None: ...

    @websocket("ws://127.0.0.1:1")
    async def trades(feed: Context) -> None: ...

    with pytest.raises(UnknownWorker, match="did you mean fund_values") as raised:
        await here.run("funds_value")
    assert raised.value.near == ["fund_values"]
    with pytest.raises(UnknownWorker, match=re.escape("there are ['fund_values', 'trades']")):
        await here.run("x" * 5000)
    with pytest.raises(CannotRunHere, match="WebSocket worker"):
        await here.run("trades")
