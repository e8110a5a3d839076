"""The rounds ask for what a close has not brought, and tell what was saved."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
import structlog

from cache_manager import CacheManager
from config import load_settings
from database import Database
from documents.meta import DocumentCounts, DocumentMeta
from job_queue.kinds import lane_of
from job_queue.queue import JobQueue
from jobs.agent import built_in
from stores.hot.leases import try_acquire
from stores.hot.opening import open_hot_store
from stores.hot.store import HotStore
from tests.fixtures.signals import until, until_true
from tests.fixtures.upstash import OwnValkey
from workers.asking import Asker
from workers.context import Context, ContextMaker
from workers.rounds import RoundFailed, collect_historical_data, collect_ui_data
from workers.run_handle import RunHandle

CLOSE_MS = 1_795_186_500_000  # 2026-11-20 14:55 UTC: of 5m alone
HOUR_MS = 1_795_183_200_000  # 14:00
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:9/nowhere"


class Cache(CacheManager):
    """The metas that a test gives it."""

    metas: Mapping[str, DocumentMeta] = {}

    async def read_states(self, names: Any) -> Any:
        return {name: self.metas.get(name) for name in names}, []


def meta(name: str, as_of_ms: int, stale: int = 0) -> DocumentMeta:
    counts = DocumentCounts(40, stale, 0)
    return DocumentMeta(name, as_of_ms, "a", as_of_ms, as_of_ms, 1, 1, "b", 1, counts)


class Agent:
    """Runs rounds on a real queue, whose jobs the test ends."""

    def __init__(self, store: HotStore, redis_url: str, providers: str = "off") -> None:
        self.store, self.queue, self.cache = store, JobQueue(store), Cache(store)
        self.settings = load_settings(
            redis_url=redis_url,
            ui_timeframes="5m,15m,1h",
            history_timeframes="4h,8h",
            providers=providers,
        )

    async def round(self, function: Any, why: str = "schedule", run_id: int = 9) -> Any:
        async def nothing(_: object = None) -> None: ...

        handle = RunHandle(
            *(run_id, "ui_data", CLOSE_MS + 60_000, why, 1, UUID(int=1), "here"),
            check=nothing,
            still_ours=nothing,
        )
        asker = Asker(self.queue, self.cache, tuple(map(str, self.settings.timeframes)))
        workers = {each.name: each for each in built_in(self.settings, Database(NOWHERE))}
        maker = ContextMaker(self.settings, self.store, asker)
        async with maker.context(workers["ui_data"], handle) as job:
            assert isinstance(job, Context)
            return await function(job)

    async def end_all(
        self, jobs: int, lane: str = "worker", **how: Any
    ) -> list[tuple[str, int | None]]:
        """Ends so many jobs as a worker does; which, and who asked for them."""
        lease = await try_acquire(self.store, lane, holder="test", ttl_s=60)
        assert lease is not None
        ended: list[tuple[str, int | None]] = []
        try:
            while len(ended) < jobs:
                if (job := await self.queue.take(lease)) is None:
                    await asyncio.sleep(0.02)  # the round asks one after another
                    continue
                end = {"state": "complete", "as_of_ms": 5, "result": {"rows": 30}, "error": None}
                await self.queue.finish(job, lease, **{**end, **how})
                ended.append((job.id, job.asked_by))
        finally:
            await lease.release()
        return ended


@pytest.fixture
async def agent(redis_url: str) -> AsyncIterator[Agent]:
    store = open_hot_store(load_settings(redis_url=redis_url), client_name="rounds")
    made = Agent(store, redis_url)
    yield made
    await made.queue.aclose()
    await store.aclose()


async def test_what_a_close_has_brought_is_not_asked_for(agent: Agent) -> None:
    """No candle of 15m and 1h has closed since the passes that published them."""
    agent.cache.metas = {
        "5m": meta("5m", CLOSE_MS + 300),
        "15m": meta("15m", CLOSE_MS - 600_000 + 300, stale=2),
        "1h": meta("1h", HOUR_MS),
    }
    told = await agent.round(collect_ui_data)
    assert [(each["id"], each["state"]) for each in told["asked"]] == [
        ("collect:5m", "fresh"),
        ("collect:15m", "fresh"),
        ("collect:1h", "fresh"),
    ]
    assert told["rows"] == 0
    assert await agent.queue.list() == []


@pytest.mark.parametrize(("as_of_ms", "stale"), [(CLOSE_MS - 1, 0), (CLOSE_MS, 3)])
async def test_what_is_older_than_the_close_or_has_failed_is_asked_for(
    agent: Agent, as_of_ms: int, stale: int
) -> None:
    agent.cache.metas = {
        "5m": meta("5m", as_of_ms, stale=stale),
        "15m": meta("15m", CLOSE_MS),
        "1h": meta("1h", HOUR_MS),
    }
    told, ended = await asyncio.gather(agent.round(collect_ui_data), agent.end_all(1))
    assert ended == [("collect:5m", 9)]
    assert [(each["id"], each["state"], each["rows"]) for each in told["asked"]] == [
        ("collect:5m", "complete", 30),
        ("collect:15m", "fresh", 0),
        ("collect:1h", "fresh", 0),
    ]
    assert told["rows"] == 30


async def test_one_pass_is_asked_for_where_several_are_not_fresh(agent: Agent) -> None:
    """And what it does not bring, by itself."""
    agent.cache.metas = {"1h": meta("1h", HOUR_MS)}
    running = asyncio.create_task(agent.round(collect_ui_data))
    lease = await try_acquire(agent.store, lane_of("collect:all"), holder="test", ttl_s=60)
    assert lease is not None
    job = await until(lambda: agent.queue.take(lease))
    agent.cache.metas = {"1h": meta("1h", HOUR_MS), "15m": meta("15m", CLOSE_MS)}
    await agent.queue.finish(
        job, lease, state="complete", as_of_ms=5, result={"rows": 70}, error=None
    )
    await lease.release()
    assert await agent.end_all(1) == [("collect:5m", 9)]
    told = await running
    assert (job.id, job.asked_by) == ("collect:all", 9)
    assert [(each["id"], each["state"], each["rows"]) for each in told["asked"]] == [
        ("collect:all", "complete", 70),
        ("collect:5m", "complete", 30),
        ("collect:15m", "fresh", 0),
        ("collect:1h", "fresh", 0),
    ]
    assert told["rows"] == 100


@pytest.mark.parametrize(
    ("as_of_ms", "absent", "asked"),
    [
        (CLOSE_MS, {"bybit": "paused for 300 s more"}, []),
        (CLOSE_MS, {}, ["collect:5m"]),
        (CLOSE_MS - 1, {"bybit": "paused for 300 s more"}, ["collect:5m"]),
    ],
)
async def test_others_are_not_asked_twice_while_an_exchange_is_away(
    agent: Agent, as_of_ms: int, absent: Mapping[str, str], asked: list[str]
) -> None:
    result = {"rows": 30, "absent": absent}
    await agent.queue.request("collect:all")
    await agent.end_all(1, as_of_ms=as_of_ms, result=result)
    agent.cache.metas = {
        "5m": meta("5m", CLOSE_MS + 300, stale=20),
        "15m": meta("15m", CLOSE_MS),
        "1h": meta("1h", CLOSE_MS),
    }
    told, ended = await asyncio.gather(agent.round(collect_ui_data), agent.end_all(len(asked)))
    assert [job_id for job_id, _ in ended] == asked
    assert [each["id"] for each in told["asked"] if each["state"] != "fresh"] == asked


async def test_a_forced_round_asks_for_all_of_it(agent: Agent) -> None:
    """4h and 8h are one job."""
    agent.cache.metas = {name: meta(name, CLOSE_MS + 300) for name in ("4h", "8h")}
    told, ended = await asyncio.gather(
        agent.round(collect_historical_data, why="force"), agent.end_all(1)
    )
    assert ended == [("collect:4h", 9)]
    assert [each["id"] for each in told["asked"]] == ["collect:4h"]


async def test_a_round_waits_for_the_pass_over_all(agent: Agent) -> None:
    await agent.queue.request("collect:all")
    agent.cache.metas = {name: meta(name, CLOSE_MS + 300) for name in ("5m", "15m", "1h")}
    told, ended = await asyncio.gather(agent.round(collect_ui_data), agent.end_all(1))
    assert ended == [("collect:all", None)]
    assert {each["state"] for each in told["asked"]} == {"fresh"}


@pytest.mark.parametrize(
    ("function", "job_id", "published"),
    [
        (collect_ui_data, "providers", ("5m", "15m", "1h")),
        (collect_historical_data, "providers_all", ("4h", "8h")),
    ],
)
async def test_rounds_ask_the_providers_beside_the_exchanges(
    agent: Agent, redis_url: str, function: Any, job_id: str, published: tuple[str, ...]
) -> None:
    asking = Agent(agent.store, redis_url, providers="on")
    asking.cache.metas = {name: meta(name, CLOSE_MS + 300) for name in published}
    told, ended = await asyncio.gather(
        asking.round(function), asking.end_all(1, lane="providers", result={"rows": 12})
    )
    assert ended == [(job_id, 9)]
    assert told["asked"][-1] == {"id": job_id, "run": 1, "state": "complete", "rows": 12}
    assert told["rows"] == 12
    assert {each["state"] for each in told["asked"][:-1]} == {"fresh"}


async def test_a_round_of_which_nothing_came_has_failed(agent: Agent) -> None:
    how: dict[str, Any] = {"state": "failed", "as_of_ms": None, "result": None}
    how["error"] = "binance: HTTP 502"
    with pytest.raises(RoundFailed, match="collect:all: binance: HTTP 502; collect:5m: "):
        await asyncio.gather(agent.round(collect_ui_data), agent.end_all(4, **how))


async def test_a_round_goes_on_when_its_store_is_back(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    """It waits, and its only attempt is not lost."""
    server = own_valkey()
    store = open_hot_store(load_settings(redis_url=server.url), client_name="rounds")
    agent = Agent(store, server.url)
    agent.cache.metas = {name: meta(name, CLOSE_MS) for name in ("15m", "1h")}
    server.kill()
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(agent.round(collect_ui_data))
        await until_true(lambda: any(e["event"] == "asking_waits_for_store" for e in logs))
        server.start()
        ended = await agent.end_all(1)
        told = await running
    assert ended == [("collect:5m", 9)]
    assert told["rows"] == 30
    await agent.queue.aclose()
    await store.aclose()
