"""Each fault, made for real in the stores, is told by GET /status in words that say what to do."""

import time
from typing import Any, cast

import asyncpg
import pytest
import redis

from budgets.shared_budgets import SharedBudgets
from documents.journal import EncodedEntry
from live.feed_state import FeedState, FeedTeller
from market.markets import Exchange
from market.timeframes import DAY_MS
from providers.account import questions_key
from providers.usage import Usage
from status.low_disks import host_name
from status.problem import ProblemKind
from stores.cold.workers.partitions import ensure_months
from stores.hot.beats import beat
from stores.hot.leases import try_acquire
from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.disk import MakeDisk
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator
from timing.clock import SystemClock, now_ms

FEED: dict[str, Any] = {
    **{"exchange": "binance", "holder": "host:2", "clock_offset_ms": 0, "connections": 1},
    **{"streams": 448, "markets": 448, "messages_per_s": 361.5},
    **{"lag_ms": {"p50": 620, "p99": 1840}, "unproven": {"silent": 60}, "reconnects": {}},
    **{"last_failure": None, "refused": 0, "restarts": 0},
}


@pytest.fixture(autouse=True)
def made_for_each_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has just done is to be seen, not what was shared with others before."""
    monkeypatch.setattr("api.overview.endpoint.MADE_EVERY_S", 0.0)


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, database_url: str) -> ServedApi:
    """One in which nothing is wrong."""
    api = await start_api(redis_url=redis_url, dsn=database_url, live="off", disk_free_min=0)
    await beat(api.store, "host:1")
    assert await problems(api) == {}
    return api


async def problems(api: ServedApi) -> dict[str, dict[str, Any]]:
    _, _, told = await ask(api, "GET", "/status")
    for each in told["problems"]:
        assert each["id"] == f"{each['kind']}:{each['subject']}"
        assert each["text"] and each["todo"].endswith(".")
        assert "127.0.0.1" not in str(each)
    return {each["id"]: each for each in told["problems"]}


async def only(api: ServedApi, kind: ProblemKind, subject: str) -> dict[str, Any]:
    """The one problem that there is, of this kind and subject."""
    found = await problems(api)
    assert list(found) == [f"{kind}:{subject}"]
    return found[f"{kind}:{subject}"]


async def end(api: ServedApi, job_id: str, error: str | None = None, **result: Any) -> None:
    """A run of the job ends, as the worker has it end."""
    await api.queue.request(job_id)
    async with api.lease() as lease:
        job = await api.queue.take(lease)
        assert job is not None and job.id == job_id
        await api.queue.finish(
            *(job, lease),
            state="complete" if error is None else "failed",
            as_of_ms=None if error else now_ms(),
            result=None if error else result,
            error=error,
        )


async def test_an_exchange_is_paused_then_banned_then_neither(api: ServedApi) -> None:
    budgets = SharedBudgets(api.store, "default", SystemClock())
    await budgets.pause(Exchange.BYBIT, 40, "too many visits")
    assert await problems(api) == {}  # jobs wait for so long
    await budgets.pause(Exchange.BYBIT, 120, "too many visits")
    paused = await only(api, ProblemKind.EXCHANGE_PAUSED, "bybit")
    assert paused["severity"] == "warning" and "too many visits" in paused["text"]
    assert "python main.py unpause bybit" in paused["todo"]
    await budgets.pause(Exchange.BYBIT, 600, "banned: access too frequent")
    banned = await only(api, ProblemKind.EXCHANGE_BANNED, "bybit")
    assert (banned["severity"] == "critical" and "599 s" in banned["text"]) or "600" in banned[
        "text"
    ]
    await ask(api, "DELETE", "/exchanges/bybit/pause")
    assert await problems(api) == {}


async def test_an_exchange_is_absent_or_does_not_serve_us(api: ServedApi) -> None:
    await end(api, "collect:4h", absent={"bybit": "bybit time: no answer within 10 s"})
    absent = await only(api, ProblemKind.EXCHANGE_ABSENT, "bybit")
    assert "no answer within 10 s" in absent["text"] and absent["severity"] == "critical"
    why = "bybit time: The service is not available from a restricted location (HTTP 451)"
    await end(api, "collect:4h", absent={"bybit": why})
    blocked = await only(api, ProblemKind.EXCHANGE_GEO_BLOCKED, "bybit")
    assert "BYBIT_PROXY" in blocked["todo"]
    await end(api, "collect:4h", failing={"binance": {"markets": 3, "names": ["AUSDT", "BUSDT"]}})
    missing = await only(api, ProblemKind.MARKETS_MISSING, "binance")
    assert "3 markets" in missing["text"] and "AUSDT, BUSDT and 1 more" in missing["text"]
    _, _, told = await ask(api, "GET", "/status")
    binance, bybit = told["exchanges"]["binance"], told["exchanges"]["bybit"]
    assert binance["failing_markets"]["count"] == 3 and bybit["failing_markets"]["count"] == 0
    assert binance["last_success"] == bybit["last_success"] == missing["since"]
    await end(api, "collect:4h", clock_offsets_ms={"binance": -7})
    assert await problems(api) == {}
    _, _, told = await ask(api, "GET", "/status")
    assert told["exchanges"]["binance"]["clock"]["offset_ms"] == -7
    assert told["exchanges"]["bybit"]["clock"] is None


async def test_each_exchange_is_told_its_own_part_of_an_error(api: ServedApi) -> None:
    asked_too_often = (
        "binance time: paused for 150 s more: -1003 Too many requests; current limit of IP"
    )
    blocked = "bybit time: The service is not available from a restricted location (HTTP 451)"
    await end(api, "collect:4h", error=f"{asked_too_often}; {blocked}")
    found = await problems(api)
    absent = found[f"{ProblemKind.EXCHANGE_ABSENT}:binance"]
    assert "Too many requests" in absent["text"] and "HTTP 451" not in absent["text"]
    assert f"{ProblemKind.EXCHANGE_GEO_BLOCKED}:bybit" in found
    assert f"{ProblemKind.EXCHANGE_GEO_BLOCKED}:binance" not in found
    await end(api, "collect:4h", error="binance time: no answer; those of bybit came")
    await only(api, ProblemKind.EXCHANGE_ABSENT, "binance")


async def test_a_job_fails_once_and_again(api: ServedApi) -> None:
    await end(api, "collect:4h", error="internal error: KeyError: 'x'")
    once = await only(api, ProblemKind.JOB_FAILING, "collect:4h")
    assert once["severity"] == "warning" and "KeyError" in once["text"]
    await end(api, "collect:4h", error="internal error: KeyError: 'x'")
    twice = await only(api, ProblemKind.JOB_FAILING, "collect:4h")
    assert twice["severity"] == "critical" and "2 times in a row" in twice["text"]
    await end(api, "collect:4h")
    assert await problems(api) == {}


async def test_the_record_is_behind(api: ServedApi) -> None:
    made_ms = now_ms() - 16 * 60_000
    async with api.lease() as lease:
        await api.cache.save_to_cache(
            "4h",
            b"{}",
            version=10,
            as_of_ms=10,
            updated_at_ms=made_ms,
            lease=lease,
            entry=EncodedEntry(b"A" * 400, is_whole=False),
        )
    behind = await only(api, ProblemKind.HISTORY_BEHIND, "history")
    assert behind["since"] == made_ms and "limit 15 min" in behind["text"]


async def test_streams_fall_silent(start_api: StartApi, redis_url: str, database_url: str) -> None:
    api = await start_api(
        redis_url=redis_url, dsn=database_url, live="on", exchanges="binance", disk_free_min=0
    )
    await beat(api.store, "host:1")
    lease = await try_acquire(api.store, "live:binance", holder="host:2", ttl_s=15)
    assert lease is not None
    teller = FeedTeller(api.store, lease, "binance")

    async def told(**changed: Any) -> str:
        await teller.tell(FeedState(**{**FEED, "at_ms": now_ms(), **changed}))
        found = await problems(api)
        return found["streams_unproven:binance"]["text"] if found else ""

    assert await told() == ""
    assert "are silent" in await told(messages_per_s=0.0)  # of an earlier release
    assert "are silent" in await told(is_silent=True)
    assert await told(is_silent=False, messages_per_s=0.0) == ""
    assert "no connection" in await told(connections=0, last_failure="cut")
    assert "45 of 448" in await told(unproven={"paused": 45})
    assert await told(unproven={"paused": 44}) == ""
    assert "has told nothing for 2" in await told(at_ms=now_ms() - 20_000)
    await api.store.execute("DEL", "live:binance:state")
    silent = await only(api, ProblemKind.STREAMS_UNPROVEN, "binance")
    assert "no process feeds" in silent["text"]
    await lease.release()


async def test_a_schedule_fails(api: ServedApi, database_url: str) -> None:
    database = await asyncpg.connect(database_url)
    try:
        await database.execute(_WORKER, now_ms() + 60_000, now_ms())
        await ensure_months(cast(Any, database), "worker_run", [now_ms() - 1000, now_ms()])
        for number in range(3):
            await database.execute(
                _RUN, now_ms() - 1000 + number, "failed" if number else "complete"
            )
    finally:
        await database.close()
    until_s = time.monotonic() + 60
    while not (found := await problems(api)) and time.monotonic() < until_s:
        pass  # the schedules are asked every 3 s
    failing = found["schedule_failing:mine"]
    assert "failed 2 times in a row: ValueError: no" in failing["text"]
    assert "POST /api/workers/mine/run-now" in failing["todo"]
    _, _, told = await ask(api, "GET", "/status")
    (row,) = told["schedules"]
    assert (row["name"], row["failures"], row["last_run"]["state"]) == ("mine", 2, "failed")


async def test_what_no_schedule_refreshes_is_not_old_while_the_database_is_away(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    api = await start_api(
        redis_url=redis_url, dsn=database_url, live="off", disk_free_min=0, schedules="on"
    )
    await beat(api.store, "host:1")
    day_ago_ms = now_ms() - DAY_MS
    await api.publish("4h", b"{}", 1, as_of_ms=day_ago_ms, updated_at_ms=day_ago_ms)
    assert await problems(api) == {}  # no schedule refreshes it
    database = await asyncpg.connect(database_url)
    try:
        await database.execute("ALTER TABLE worker RENAME TO away")
    finally:
        await database.close()

    async def schedules_are_unknown() -> bool:
        _, _, told = await ask(api, "GET", "/status")
        return told["schedules"] is None

    await until(schedules_are_unknown)  # they are asked every 3 s
    assert "document_old:4h" not in await problems(api)


async def test_nobody_of_a_chain_answers(
    start_api: StartApi, redis_url: str, database_url: str, start_simulator: StartSimulator
) -> None:
    imitated = start_simulator(providers=True, binance=5, bybit=5)
    api = await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        live="off",
        disk_free_min=0,
    )
    await beat(api.store, "host:1")
    assert await problems(api) == {}
    imitated.stop()
    status, _, _ = await ask(api, "GET", "/api/gas/bitcoin")
    assert status == 503

    async def dead() -> bool:
        return "chain_dead:gas.bitcoin" in await problems(api)

    await until(dead)
    problem = (await problems(api))["chain_dead:gas.bitcoin"]
    assert "python main.py providers probe gas.bitcoin" in problem["todo"]
    assert abs(problem["since"] - now_ms()) < 120_000
    _, _, told = await ask(api, "GET", "/status")
    chain = told["providers"]["gas.bitcoin"]
    assert chain["unanswered"] == chain["asked"] == 1
    key = api.store.prefix + questions_key("gas.bitcoin")
    with redis.Redis.from_url(redis_url) as server:
        # The last question was a quarter of an hour ago: nobody knows any more.
        server.hset(key, "dead_at", now_ms() - 15 * 60_000)
        assert "chain_dead:gas.bitcoin" not in await problems(api)
        server.hset(key, "dead_at", now_ms())
    assert "chain_dead:gas.bitcoin" in await problems(api)
    usage = Usage(api.store)
    usage.living("gas.bitcoin", True)
    await usage.aclose()
    assert "chain_dead:gas.bitcoin" not in await problems(api)


async def test_disk_and_memory_are_nearly_full(
    start_api: StartApi, redis_url: str, database_url: str, make_disk: MakeDisk
) -> None:
    api = await start_api(redis_url=redis_url, dsn=database_url, data_dir=make_disk(8), live="off")
    await beat(api.store, "host:1")
    full = await only(api, ProblemKind.DISK_NEARLY_FULL, host_name())
    assert full["severity"] == "critical" and "(limit 2.0 GB)" in full["text"]
    with redis.Redis.from_url(redis_url) as server:
        used = server.info("memory")["used_memory"]
        try:
            server.config_set("maxmemory", int(used * 1.06))
            assert "memory_nearly_full:hot" in await problems(api)
        finally:
            server.config_set("maxmemory", 0)
    await only(api, ProblemKind.DISK_NEARLY_FULL, host_name())


async def test_no_worker_is_alive(start_api: StartApi, redis_url: str, database_url: str) -> None:
    api = await start_api(redis_url=redis_url, dsn=database_url, live="off", disk_free_min=0)
    nobody = await only(api, ProblemKind.NO_WORKER, "workers")
    assert nobody["severity"] == "critical" and "for 30 s" in nobody["text"]
    assert "python main.py serve" in nobody["todo"]
    await beat(api.store, "host:1")
    assert await problems(api) == {}


async def test_stores_are_away(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url="redis://127.0.0.1:1", live="off", disk_free_min=0)
    found = await problems(api)
    assert list(found) == ["store_away:hot", "database_away:cold"]
    assert all(each["severity"] == "critical" for each in found.values())


_WORKER = """
    INSERT INTO worker (name, kind, origin, every_s, tz, queue, egress, timeout_s, max_attempts,
        on_missed, enabled, next_run, declared, changed_at, changed_by)
    VALUES ('mine', 'schedule', 'user', 300, 'UTC', 'default', 'any', 60, 1, 'one', true, $1, '{}',
        $2, 'code')
"""
_RUN = """
    INSERT INTO worker_run (worker, slot, why, state, queue, queued_at, started_at, finished_at,
        error)
    VALUES ('mine', $1, 'schedule', $2::text, 'default', $1, $1, $1,
        CASE WHEN $2::text = 'failed' THEN 'ValueError: no' END)
"""
