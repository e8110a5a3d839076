"""The ticker: each slot has its run once, with the engine's job and the next instant, or none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from database import DatabaseUnavailable
from stores.cold.pool import Connection
from tests.fixtures.schedules import Schedules, schedule
from tests.fixtures.signals import Gate, until
from workers.changes import Changes
from workers.control import Control

NOON = 1_795_953_600_000  # 2026-11-29 12:00 UTC
S, MINUTE, DAY = 1000, 60_000, 86_400_000


async def at(schedules: Schedules, now_ms: int, *names: str) -> list[tuple[str, int, str, str]]:
    """What a ticker fires at this time, with what it fired before over."""
    schedules.now_ms = now_ms
    await schedules.end_runs()
    known = {(worker, slot) for worker, slot, _, _ in await schedules.runs()}
    await schedules.ticker(*names).tick()
    return [run for run in await schedules.runs() if run[:2] not in known]


async def test_a_schedule_fires_when_it_is_due_and_not_before(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300, offset_s=60))
    await schedules.due_at("fives", NOON + MINUTE)
    assert await at(schedules, NOON + MINUTE - 1, "fives") == []
    assert await at(schedules, NOON + MINUTE, "fives") == [
        ("fives", NOON + MINUTE, "schedule", "queued")
    ]
    assert await schedules.next_run("fives") == NOON + 6 * MINUTE
    assert await at(schedules, NOON + MINUTE, "fives") == []
    [row] = await schedules.sql(
        "SELECT r.job_id, j.id, j.queue, r.queue AS told FROM worker_run AS r"
        " JOIN noted_job AS j ON j.run = r.id"
    )
    assert row["job_id"] == row["id"]
    assert row["queue"] == row["told"] == "default"


async def test_a_run_goes_to_the_queue_of_its_egress(schedules: Schedules) -> None:
    await schedules.sync(schedule("there", every_s=60, queue="slow", egress="Frankfurt-2"))
    await schedules.due_at("there", NOON)
    await at(schedules, NOON, "there")
    [job] = await schedules.sql("SELECT queue FROM noted_job")
    assert job["queue"] == "egress:Frankfurt-2"


async def test_of_many_tickers_one_fires(schedules: Schedules) -> None:
    names = [f"w{number}" for number in range(12)]
    await schedules.sync(*(schedule(name, every_s=60) for name in names))
    schedules.now_ms = NOON
    for name in names:
        await schedules.due_at(name, NOON)
    tickers = [schedules.ticker(*names, own=True) for _ in range(4)]
    fired = await asyncio.gather(*(ticker.tick() for ticker in tickers))
    assert sorted(one.worker for found in fired for one in found) == sorted(names)
    assert sorted(await schedules.runs()) == sorted(
        (name, NOON, "schedule", "queued") for name in names
    )
    assert len(await schedules.sql("SELECT 1 FROM noted_job")) == len(names)


async def test_what_was_missed_becomes_one(schedules: Schedules) -> None:
    await schedules.sync(schedule("twos", every_s=2))
    await schedules.due_at("twos", NOON)
    assert await at(schedules, NOON + 15 * S, "twos") == [("twos", NOON, "schedule", "queued")]
    assert await schedules.next_run("twos") == NOON + 16 * S
    assert await at(schedules, NOON + 16 * S, "twos") == [
        ("twos", NOON + 16 * S, "schedule", "queued")
    ]


async def test_skipping_leaves_out_what_was_missed(schedules: Schedules) -> None:
    await schedules.sync(
        schedule("daily", every_s=86_400, on_missed="skip"),
        schedule("minutes", every_s=60, on_missed="skip"),
        schedule("cron", cron="30 * * * *", on_missed="skip"),
    )
    for name in ("daily", "minutes", "cron"):
        await schedules.due_at(name, NOON - DAY // 2)
    # Of the minutes the last one is not missed: it is what fires now in any case.
    assert await at(schedules, NOON + 20 * S, "daily", "minutes", "cron") == [
        ("minutes", NOON, "schedule", "queued")
    ]
    assert await schedules.next_run("daily") == NOON + DAY // 2
    assert await schedules.next_run("cron") == NOON + 30 * MINUTE


async def test_what_is_off_or_unknown_here_does_not_fire(schedules: Schedules) -> None:
    await schedules.sync(
        schedule("off", every_s=60, enabled=False),
        schedule("elsewhere", every_s=60),
        schedule("feed", kind="websocket", url="wss://example.com"),
        schedule("asked"),
    )
    assert await schedules.next_run("off") is None
    assert await schedules.next_run("feed") is None
    assert await schedules.next_run("asked") is None
    await schedules.due_at("elsewhere", NOON)
    await schedules.due_at("off", NOON)
    assert await at(schedules, NOON, "off", "feed", "asked") == []


async def test_without_a_job_there_is_no_run(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300))
    await schedules.due_at("fives", NOON)
    schedules.now_ms = NOON
    await schedules.sql("ALTER TABLE noted_job RENAME TO gone")
    with pytest.raises(DatabaseUnavailable, match="noted_job"):
        await schedules.ticker("fives").tick()
    assert await schedules.runs() == []
    assert await schedules.next_run("fives") == NOON
    await schedules.sql("ALTER TABLE gone RENAME TO noted_job")
    assert await at(schedules, NOON + 1, "fives") == [("fives", NOON, "schedule", "queued")]


async def test_a_firing_joins_a_run_that_is_not_over(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300))
    await schedules.due_at("fives", NOON)
    schedules.now_ms = NOON
    await schedules.ticker("fives").tick()
    schedules.now_ms = NOON + 5 * MINUTE
    await schedules.ticker("fives").tick()
    assert await schedules.runs() == [
        ("fives", NOON, "schedule", "queued"),
        ("fives", NOON + 5 * MINUTE, "schedule", "coalesced"),
    ]
    first, second = await schedules.sql(
        "SELECT id, result, finished_at FROM worker_run ORDER BY id"
    )
    assert second["result"] == f'{{"joined" : {first["id"]}}}'
    assert second["finished_at"] is not None
    assert len(await schedules.sql("SELECT 1 FROM noted_job")) == 1


async def test_a_clock_that_goes_back_stops_nothing_and_doubles_nothing(
    schedules: Schedules,
) -> None:
    await schedules.sync(schedule("fives", every_s=300))
    await schedules.due_at("fives", NOON)
    for minute in (0, 5, 10):
        assert len(await at(schedules, NOON + minute * MINUTE, "fives")) == 1
    # The clock was a day ahead: what has had its slot has no other, and the rest fires in time.
    stop = asyncio.Event()
    schedules.now_ms = NOON - DAY
    changes = Changes(schedules.database)
    ticker = schedules.ticker("fives", changes=changes)
    running = asyncio.create_task(ticker.run(stop))

    async def is_set_back() -> bool:
        return await schedules.next_run("fives") == NOON - DAY + 5 * MINUTE

    await until(is_set_back)
    stop.set()
    await running
    assert await at(schedules, NOON - DAY + 5 * MINUTE, "fives") == [
        ("fives", NOON - DAY + 5 * MINUTE, "schedule", "queued")
    ]
    await schedules.due_at("fives", NOON)
    assert await at(schedules, NOON, "fives") == []
    assert await schedules.next_run("fives") == NOON + 5 * MINUTE


async def test_a_slot_of_years_ago_has_its_partition(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300))
    await schedules.due_at("fives", NOON - 700 * DAY)
    assert await at(schedules, NOON, "fives") == [("fives", NOON - 700 * DAY, "schedule", "queued")]


async def test_a_row_that_cannot_fire_stops_no_other(schedules: Schedules) -> None:
    await schedules.sync(schedule("bad", every_s=300), schedule("good", every_s=300))
    await schedules.due_at("bad", NOON - 1)
    await schedules.due_at("good", NOON)
    await schedules.sql("UPDATE worker SET every_s = NULL, cron = 'never' WHERE name = 'bad'")
    assert await at(schedules, NOON, "bad", "good") == [("good", NOON, "schedule", "queued")]


async def test_a_host_that_freezes_with_a_row_in_hand_lets_it_go(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300))
    await schedules.due_at("fives", NOON)
    schedules.now_ms = NOON
    gate = Gate()

    async def freezes(
        connection: Connection, run_id: int, queue: str, not_before_ms: int | None = None
    ) -> int:
        await gate.passed()
        return 1

    frozen = schedules.ticker("fives", own=True, enqueue=freezes)
    holding = asyncio.create_task(frozen.tick())
    await gate.wait_until_reached()
    other = schedules.ticker("fives")

    async def fires() -> bool:
        return await other.tick() != []

    await until(fires)
    assert await schedules.runs() == [("fives", NOON, "schedule", "queued")]
    gate.open()
    # Its transaction is gone.
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await holding
    assert await frozen.tick() == []
    assert await schedules.runs() == [("fives", NOON, "schedule", "queued")]


@asynccontextmanager
async def running(schedules: Schedules, *names: str) -> AsyncIterator[Changes]:
    """A ticker at work, by the database's clock, that hears of changes."""
    changes, stop, heard = Changes(schedules.database), asyncio.Event(), asyncio.Event()
    changes.on("queue", heard.set)  # called when it begins to listen
    ticker = schedules.ticker(*names, changes=changes)
    tasks = [asyncio.create_task(part.run(stop)) for part in (ticker, changes)]
    try:
        await asyncio.wait_for(heard.wait(), 60)
        yield changes
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def has_run(schedules: Schedules) -> None:
    async def look() -> bool:
        return await schedules.runs() != []

    await until(look)


async def test_a_change_is_heard_at_once(schedules: Schedules) -> None:
    await schedules.sync(schedule("weekly", every_s=7 * 86_400))
    async with running(schedules, "weekly"):
        control = Control(schedules.database, enqueue=None, cancel=None)
        await control.change("weekly", {"every_s": 1}, "test")
        await has_run(schedules)


async def test_a_lost_connection_is_opened_again_and_misses_nothing(schedules: Schedules) -> None:
    await schedules.sync(schedule("weekly", every_s=7 * 86_400))
    async with running(schedules, "weekly") as changes:
        lost, heard = asyncio.Event(), asyncio.Event()
        changes.on("worker", lambda: (heard.set if changes.is_heard else lost.set)())
        server = await asyncpg.connect(schedules.url, timeout=10)
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await server.close()
        await asyncio.wait_for(lost.wait(), 60)
        heard.clear()
        await asyncio.wait_for(heard.wait(), 60)
        control = Control(schedules.database, enqueue=None, cancel=None)
        await control.change("weekly", {"every_s": 1}, "test")
        await has_run(schedules)
