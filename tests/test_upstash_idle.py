"""What an idle service costs on Upstash, where every command is billed: exact numbers a minute."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api.scrape import ProcessGroup
from commands.composition import open_job_context
from config import Settings, load_settings
from job_queue.queue import JobQueue
from metrics.api import ApiMetrics
from stores.hot.beats import store_health, workers_alive
from stores.hot.opening import open_hot_store
from tests.fixtures.api import StartApi, get
from tests.fixtures.clock import ManualClock
from tests.fixtures.documents import AS_OF_MS, document
from tests.fixtures.upstash import UpstashEndpoint
from worker import LOOK_EVERY_S, Worker

MINUTES = 10
# Of Upstash's free plan: 500,000 commands a month.
MOST_A_MINUTE = 6


@pytest.fixture
def settings(upstash: UpstashEndpoint, database_url: str, tmp_path: Any) -> Settings:
    return load_settings(
        upstash_redis_rest_url=upstash.url,
        upstash_redis_rest_token=upstash.token,
        database_url=database_url,
        data_dir=tmp_path,
    )


StartWorker = Callable[..., Any]


@pytest.fixture
async def start_worker(settings: Settings) -> AsyncIterator[StartWorker]:
    """Starts workers as on hosts of their own, on one clock that the test moves."""
    async with contextlib.AsyncExitStack() as opened:
        stop = asyncio.Event()

        async def start(holder: str, clock: ManualClock) -> None:
            context = await opened.enter_async_context(open_job_context(settings, "worker"))
            running = asyncio.create_task(Worker(context, holder=holder, clock=clock).run(stop))
            opened.push_async_callback(lambda: running)

        yield start
        stop.set()


async def test_a_worker_sends_two_commands_a_minute(
    upstash: UpstashEndpoint, start_worker: StartWorker
) -> None:
    clock = ManualClock(hold=True)
    await start_worker("host-1:1", clock)
    await clock.let_pass(1, sleepers=1)
    upstash.fail("")
    await clock.let_pass(60 * MINUTES, sleepers=1)
    assert upstash.commands() == {"EVALSHA": 2 * MINUTES}
    # The lanes wait by the real clock, and each heartbeat looks for them.
    assert LOOK_EVERY_S["upstash"] > 30 + 5


async def test_a_service_of_a_worker_and_three_api_processes_stays_within_the_limit(
    upstash: UpstashEndpoint, start_worker: StartWorker, settings: Settings
) -> None:
    clock = ManualClock(hold=True)
    names = [f"api-{number}" for number in range(1, 4)]
    await start_worker("host-1:1", clock)
    store = open_hot_store(settings, client_name="api")
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(store.aclose)
        for name in names:
            process = ProcessGroup(ApiMetrics(name, group="host-1"), names, clock)
            await opened.enter_async_context(process.shared(store))
        await clock.let_pass(1, sleepers=4)
        upstash.fail("")
        await clock.let_pass(60 * MINUTES, sleepers=4)
        assert upstash.commands() == {"EVALSHA": 2 * MINUTES, "SET": 3 * MINUTES}
        # Besides, each of the four looks every ten minutes whose data it is.
        assert sum(upstash.commands().values()) + 4 * MINUTES / 10 <= MOST_A_MINUTE * MINUTES
        # What they tell each other counts until they tell it anew.
        assert await store.execute("TTL", "metrics:host-1:api-1") > 60


async def test_a_worker_counts_as_alive_from_one_heartbeat_to_the_next(
    upstash: UpstashEndpoint, start_worker: StartWorker, settings: Settings
) -> None:
    clock = ManualClock(hold=True)
    await start_worker("host-1:1", clock)
    await clock.let_pass(0, sleepers=1)
    store = open_hot_store(settings, client_name="api")
    assert (await store_health(store)).worker_alive
    assert list(await workers_alive(store)) == ["host-1:1"]
    upstash.fail("503", times=1)
    await clock.let_pass(30, sleepers=1)  # the next heartbeat fails
    # There is time left for the one after it, which comes sooner.
    for key in ("workers:any", "workers:host-1:1"):
        assert await store.execute("TTL", key) > 30 + 5
    upstash.fail("")
    await clock.let_pass(1, sleepers=1)
    assert upstash.commands() == {"EVALSHA": 1}
    await store.aclose()


async def test_what_the_pages_for_operators_cost(
    upstash: UpstashEndpoint,
    start_api: StartApi,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As docs/deploying.md says."""
    monkeypatch.setattr("api.overview.endpoint.MADE_EVERY_S", 0.0)  # else two may share one
    api = await start_api(
        upstash_redis_rest_url=upstash.url,
        upstash_redis_rest_token=settings.upstash_redis_rest_token,
    )
    await JobQueue(api.store).beat("host-1:1", "")
    for path, costs in (("/health", 0), ("/ready", 3), ("/metrics", 3), ("/status", 1)):
        await get(api, path)  # the scripts are known from now on
        upstash.fail("")
        await get(api, path)
        assert sum(upstash.commands().values()) == costs, path


async def test_a_get_that_finds_nothing_new_costs_one_command(
    upstash: UpstashEndpoint, start_api: StartApi, settings: Settings
) -> None:
    api = await start_api(
        upstash_redis_rest_url=upstash.url,
        upstash_redis_rest_token=settings.upstash_redis_rest_token,
    )
    await api.publish("4h", document(), AS_OF_MS)
    for path in ("/cache/4h", "/cache/4h?limit=1"):
        _, headers, _ = await get(api, path)
        upstash.fail("")
        status, _, _ = await get(api, path, If_None_Match=headers["etag"])
        assert (status, upstash.commands()) == (304, {"MGET": 1})
