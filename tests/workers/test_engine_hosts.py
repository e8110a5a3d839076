"""The engine's seam on real processes: hosts that die, freeze and wake, and what runs become.

The same rows hold on any engine: nothing here knows PgQueuer.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.signals import until, until_true
from tests.workers.hosts import Fleet, fleet_on


@pytest.fixture
async def fleet(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(database_url, redis_url, tmp_path) as found:
        yield found


async def test_runs_end_as_their_functions_do(fleet: Fleet) -> None:
    host = await fleet.start()
    names = ("short", "raises_twice", "too_long", "leaves", "stubborn")
    ids = {name: await fleet.force(name) for name in names}

    run = await fleet.until_state(ids["short"], "complete")
    assert (run.attempts, run.result, run.error, run.why) == (1, 1, None, "force")
    assert run.started_at_ms is not None and run.finished_at_ms is not None
    assert run.queued_at_ms <= run.started_at_ms <= run.finished_at_ms

    run = await fleet.until_state(ids["raises_twice"], "complete", "failed")
    assert (run.state, run.attempts, run.result, run.error) == ("complete", 3, "done", None)
    assert len(await fleet.effects(run.id, "began")) == 3
    for attempt in (1, 2):
        assert host.said(f"ValueError: not in attempt {attempt}")
    assert host.said("Traceback (most recent call last)")

    run = await fleet.until_state(ids["too_long"], "failed")
    assert run.error == "TookTooLong: it took longer than its timeout of 0.2 s"

    run = await fleet.until_state(ids["leaves"], "failed")
    left = "WorkerLeft: it tried to end the process with status 3"
    assert (run.error, run.attempts) == (left, 3)
    assert host.said("WorkerLeft: it raised KeyboardInterrupt")
    # One that swallows its cancellation is left behind, also when the host ends.
    run = await fleet.until_state(ids["stubborn"], "failed")
    assert run.error == "TookTooLong: it took longer than its timeout of 0.2 s"
    assert host.lives
    assert await host.stop() == 0
    assert host.said("process_ends_before_its_tasks")


async def test_runs_are_aborted_paused_and_limited_from_another_process(fleet: Fleet) -> None:
    host = await fleet.start()
    run_id = await fleet.force("in_thread")

    async def in_its_thread() -> bool:
        return bool(await fleet.effects(run_id, "worker-in_thread"))

    await until(in_its_thread, details=fleet.told)
    assert (await fleet.control.force("in_thread", "test")).coalesced
    await fleet.control.abort(run_id, "test")
    await until_true(lambda: host.said("run_ended"))
    assert "state=lost" in host.said("run_ended")[0]
    run = await fleet.run(run_id)
    assert (run.state, run.result) == ("aborted", None)

    # A paused queue waits, and a limit holds.
    first = await fleet.force("slow", {"s": 3600})
    await fleet.until_began(first)
    await fleet.control.pause("default", None, "test")
    waiting = await fleet.force("short")
    await fleet.control.resume("default", "test")
    await fleet.until_state(waiting, "complete")
    await fleet.control.limit("default", 1, "test")  # which the slow one takes up
    await fleet.force("raises_twice")
    limited = await fleet.force("short")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await fleet.until_state(limited, "complete")
    [before] = await fleet.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint at")
    await fleet.control.abort(first, "test")
    await fleet.until_state(limited, "complete")
    [one] = await fleet.effects(limited, "done")
    assert one["at"] >= before["at"]


async def test_a_killed_hosts_run_begins_again_elsewhere_and_ends_once(fleet: Fleet) -> None:
    await fleet.start()
    await fleet.start()
    run_id = await fleet.force("slow", {"s": 1})
    fleet.host_of(await fleet.until_began(run_id)).kill()
    run = await fleet.until_state(run_id, "complete", "failed")
    assert (run.state, run.attempts, run.result) == ("complete", 2, {"attempt": 2})
    [wrote] = await fleet.effects(run_id, "wrote")
    assert wrote["attempt"] == 2


async def test_hosts_that_stop_hand_back_what_they_run_and_open_runs_wait(fleet: Fleet) -> None:
    await fleet.start()
    run_id = await fleet.force("slow", {"s": 1})
    pid = await fleet.until_began(run_id)
    await fleet.start()
    assert await fleet.host_of(pid).stop() == 0
    run = await fleet.until_state(run_id, "complete", "failed")
    assert (run.state, run.attempts) == ("complete", 1)
    assert await fleet.effects(run_id, "wrote")

    # The other one stops, too; what is asked for then has lost its job when the next one starts.
    assert [await host.stop() for host in fleet.hosts if host.lives] == [0]
    run_id = await fleet.force("short")
    await fleet.execute("DROP SCHEMA engine CASCADE")
    await fleet.start()
    assert (await fleet.until_state(run_id, "complete")).attempts == 1


async def test_a_lost_job_is_not_taken_for_the_job_of_another_run_with_its_number(
    fleet: Fleet,
) -> None:
    """Where the engine's tables are made anew, their numbers begin anew, too."""
    host = await fleet.start_ready()
    assert await host.stop() == 0
    await fleet.execute("ALTER SEQUENCE engine.pgqueuer_id_seq RESTART WITH 1")
    lost = [await fleet.force("short"), await fleet.force("raises_twice")]
    await fleet.execute("TRUNCATE engine.pgqueuer RESTART IDENTITY")
    others = [await fleet.force(each, {"s": 0}) for each in ("slow", "slow_once")]
    numbers = [[(await fleet.run(each)).job_id for each in runs] for runs in (lost, others)]
    assert numbers == [[1, 2], [1, 2]]

    # What is asked of the one reaches no job of the other.
    await fleet.control.abort(lost[0], "a test")
    jobs = await fleet.rows("SELECT id FROM engine.pgqueuer WHERE status = 'queued' ORDER BY id")
    assert [job["id"] for job in jobs] == [1, 2]

    await fleet.start()
    for run_id in (lost[1], *others):
        await fleet.until_state(run_id, "complete")
