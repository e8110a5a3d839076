"""The engine's seam in faults that take long: frozen hosts, deaths in each attempt, PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.signals import until, until_true
from tests.workers.hosts import Fleet, fleet_on

pytestmark = pytest.mark.slow


@pytest.fixture
async def fleet(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(database_url, redis_url, tmp_path) as found:
        yield found


async def test_a_frozen_host_that_wakes_writes_nothing_and_loses_nobodys_run(
    fleet: Fleet,
) -> None:
    one, other = await fleet.start(), await fleet.start()
    run_id = await fleet.force("slow", {"s": 3600})
    frozen = fleet.host_of(await fleet.until_began(run_id))
    lives = other if frozen is one else one
    frozen.freeze()
    began_s = time.monotonic()
    assert await fleet.until_began(run_id, attempt=2) == lives.pid
    again_s = time.monotonic() - began_s
    frozen.wake()
    woken_s = time.monotonic()
    await until_true(lambda: frozen.said("run_lost"))
    lost_s = time.monotonic() - woken_s
    print(f"again after {again_s:.1f} s; lost {lost_s:.2f} s after waking")  # noqa: T201
    assert again_s <= 15
    await until_true(lambda: frozen.said("run_ended"))
    # The woken host's manager ended its job, which is the other's. Had it really been ended, a
    # second death would lose the run.
    await asyncio.sleep(2)  # its buffers are written every 0.1 to 1.2 s
    lives.kill()
    assert await fleet.until_began(run_id, attempt=3) == frozen.pid
    assert not await fleet.effects(run_id, "wrote")
    assert (await fleet.run(run_id)).state == "running"


async def test_a_run_that_kills_its_host_each_time_fails_after_three_attempts(
    fleet: Fleet,
) -> None:
    await fleet.start()
    began_s = time.monotonic()
    run_id = await fleet.force("killer")
    while (run := await fleet.run(run_id)).state in ("queued", "running"):
        assert time.monotonic() - began_s < 120, fleet.told()
        if not any(host.lives for host in fleet.hosts):
            await fleet.start()
        await asyncio.sleep(0.1)  # as a supervisor looks
    print(f"failed after {time.monotonic() - began_s:.1f} s: {run.error}")  # noqa: T201
    assert (run.state, run.attempts) == ("failed", 3)
    assert run.error is not None and run.error.startswith("the host died in each of 3 attempts")
    assert len(await fleet.effects(run_id, "began")) == 3

    async def nobody_will_take_it() -> bool:
        return not await fleet.rows("SELECT 1 FROM engine.pgqueuer")

    await until(nobody_will_take_it)


async def test_the_engines_tables_may_be_dropped_while_runs_go_on(fleet: Fleet) -> None:
    await fleet.start()
    running, waiting = await fleet.force("slow", {"s": 3}), await fleet.force("raises_twice")
    await fleet.until_began(running)
    await fleet.execute("DROP SCHEMA engine CASCADE")
    assert (await fleet.until_state(running, "complete")).attempts == 1
    assert (await fleet.until_state(waiting, "complete")).attempts == 3
    await fleet.until_state(await fleet.force("short"), "complete")


@pytest.mark.parametrize("lose", ["DROP SCHEMA engine CASCADE", "TRUNCATE engine.pgqueuer"])
async def test_a_run_whose_job_is_lost_stays_its_living_hosts(fleet: Fleet, lose: str) -> None:
    """Also where it has no other attempt; and once its host has died it is another's."""
    await fleet.start_ready()
    await fleet.start_ready()
    once = await fleet.force("slow_once", {"s": 18})
    killed = await fleet.force("slow", {"s": 3600})
    await fleet.until_began(once)
    dies = fleet.host_of(await fleet.until_began(killed))
    await fleet.execute(lose)
    await fleet.start_ready()  # which gives runs without a job new ones at its start
    run = await fleet.until_state(once, "complete", "failed")
    assert (run.state, run.attempts) == ("complete", 1), fleet.told()
    assert (await fleet.run(killed)).attempts == 1, fleet.told()
    dies.kill()
    await fleet.until_began(killed, attempt=2)


async def test_a_run_of_a_worker_that_a_host_does_not_know_waits_for_one_that_does(
    fleet: Fleet,
) -> None:
    knows = await fleet.start(WORKER_QUEUES="some")
    run_id = await fleet.force("of_some_hosts")
    await fleet.until_state(run_id, "complete")
    await knows.stop()
    lacks = await fleet.start()
    run_id = await fleet.force("of_some_hosts")
    await until_true(lambda: lacks.said("run_of_unknown_worker"))
    await fleet.start(WORKER_QUEUES="some")
    assert (await fleet.until_state(run_id, "complete")).attempts == 1


@pytest.mark.parametrize("away_s", [0.0, 30.0])
async def test_runs_go_on_over_an_outage_of_postgresql(
    own_postgres: OwnPostgres, redis_url: str, tmp_path: Path, away_s: float
) -> None:
    async with fleet_on(own_postgres.url, redis_url, tmp_path) as fleet:
        await fleet.start()
        await fleet.start()
        long, ending = (
            await fleet.force("slow", {"s": 20 + away_s}),
            await fleet.force("raises_twice"),
        )
        await fleet.until_began(long)
        own_postgres.kill()
        await asyncio.sleep(away_s)
        own_postgres.start()

        async def answers() -> bool:
            try:
                return (await fleet.run(long)).state != ""
            except Exception:
                return False

        await until(answers)
        run = await fleet.until_state(long, "complete", "failed", within_s=120)
        assert (run.state, run.attempts) == ("complete", 1), fleet.told()
        assert len(await fleet.effects(long, "wrote")) == 1
        assert (await fleet.until_state(ending, "complete", "failed")).state == "complete"
        forced = await fleet.force("short")
        assert (await fleet.until_state(forced, "complete")).attempts == 1
        assert all(host.lives for host in fleet.hosts)


async def test_firings_under_ten_kills_are_none_missed_and_none_doubled(fleet: Fleet) -> None:
    await fleet.start_ready()
    await fleet.start_ready()
    await fleet.until_state(await fleet.force("short"), "complete")
    await fleet.control.set_enabled("each_two_s", True, "test")
    began_ms = time.time_ns() // 1_000_000
    for _ in range(10):
        await asyncio.sleep(5)
        fleet.hosts[0].kill()
        await fleet.hosts[0].ended()
        fleet.hosts.pop(0)
        await fleet.start_ready()  # with one host at least alive, as a fleet is
    await asyncio.sleep(8)
    await fleet.control.set_enabled("each_two_s", False, "test")
    ended_ms = time.time_ns() // 1_000_000

    async def none_is_open() -> bool:
        open_ones = await fleet.rows(
            "SELECT 1 FROM worker_run"
            " WHERE worker = 'each_two_s' AND state IN ('queued', 'running')"
        )
        return not open_ones

    await until(none_is_open)
    rows = await fleet.rows(
        "SELECT slot, state, started_at FROM worker_run WHERE worker = 'each_two_s' ORDER BY slot"
    )
    slots = [row["slot"] for row in rows]
    due = [slot for slot in range(began_ms // 2000 * 2000 + 2000, ended_ms, 2000)]
    late = sorted(row["started_at"] - row["slot"] for row in rows if row["started_at"])
    told = f"{len(rows)} of {len(due)}; p50 {late[len(late) // 2]} ms, "
    told += f"p95 {late[len(late) * 95 // 100]} ms, max {late[-1]} ms; " + str(
        [row["state"] for row in rows if row["state"] != "complete"]
    )
    print(told)  # noqa: T201
    assert slots == due[: len(slots)] and len(due) - len(slots) <= 1, fleet.told() + told
    done = await fleet.rows(
        "SELECT run.attempts, count(*) AS times FROM worker_run AS run"
        " JOIN effects ON effects.run = run.id"
        " WHERE run.worker = 'each_two_s' AND run.state = 'complete' GROUP BY run.id, run.attempts"
    )
    assert len(done) == sum(row["state"] == "complete" for row in rows)
    assert all(row["times"] <= row["attempts"] for row in done)  # twice where its host died
