"""Limits of queues on real processes: never more runs at once than a limit allows, on all hosts.

What ran at once is counted from the table `effects`, by the database's clock.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stores.cold.workers.run_rows import RunRow
from tests.fixtures.signals import until
from tests.workers.hosts import Fleet, Host, fleet_on

LOOKS_S = 2.0  # for what must not happen: hosts look when a run is asked for or ends, at once


@pytest.fixture
async def fleet(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(database_url, redis_url, tmp_path) as found:
        yield found


async def most_at_once(fleet: Fleet) -> int:
    """The most runs whose functions went on at once."""
    rows = await fleet.rows(
        "SELECT min(at) AS began, coalesce("
        " max(at) FILTER (WHERE what = 'wrote'),"
        " (SELECT finished_at FROM worker_run WHERE id = run AND state = 'aborted')) AS ended"
        " FROM effects WHERE worker LIKE 'slow%' GROUP BY run"
    )
    changes = [(row["began"], 1) for row in rows]
    changes += [(row["ended"], -1) for row in rows if row["ended"] is not None]
    most = now = 0
    for _, change in sorted(changes):  # of the same instant, ends first
        now += change
        most = max(most, now)
    return most


async def until_run(fleet: Fleet, count: int) -> list[int]:
    """Waits until so many functions go on; their runs."""

    async def look() -> list[int] | None:
        rows = await fleet.rows(
            "SELECT run FROM effects GROUP BY run"
            " HAVING bool_and(what = 'began') AND NOT EXISTS ("
            " SELECT FROM worker_run WHERE id = run AND state = 'aborted') ORDER BY run"
        )
        return [row["run"] for row in rows] if len(rows) >= count else None

    return await until(look, details=fleet.told)


async def begins(fleet: Fleet, run_id: int) -> RunRow:
    """The run, once it has begun; TimeoutError if that takes longer than hosts take to look."""
    async with asyncio.timeout(LOOKS_S):
        return await fleet.until_state(run_id, "running", "complete", "failed")


async def test_a_limit_holds_for_hosts_that_start_at_the_same_instant(fleet: Fleet) -> None:
    """They find runs that wait, and have heard of no limit yet."""
    first = await fleet.start_ready()
    await fleet.control.limit("default", 2, "test")
    await first.stop()
    runs = [await fleet.add("slow", {"s": 0.2}) for _ in range(8)]
    await asyncio.gather(*(fleet.start() for _ in range(2)))
    for run_id in runs:
        assert (await fleet.until_state(run_id, "complete", "failed")).attempts == 1
    assert await most_at_once(fleet) == 2
    hosts = await fleet.rows("SELECT DISTINCT pid FROM effects")
    assert 1 <= len(hosts) <= 2


async def test_a_limit_that_is_changed_while_runs_go_on_holds_from_then_on(fleet: Fleet) -> None:
    await fleet.start_ready()
    await fleet.start_ready()
    await fleet.control.limit("default", 3, "test")
    runs = [await fleet.add("slow", {"s": 3600}) for _ in range(4)]
    assert await until_run(fleet, 3) == runs[:3]

    # Lowered below what runs: nothing is ended, and nothing begins before there is room.
    await fleet.control.limit("default", 1, "test")
    with pytest.raises(TimeoutError):
        await begins(fleet, await fleet.force("short"))
    for run_id in runs[:2]:
        await fleet.control.abort(run_id, "test")
    with pytest.raises(TimeoutError):
        await begins(fleet, runs[3])
    assert [(await fleet.run(run_id)).state for run_id in runs[2:]] == ["running", "queued"]
    await fleet.control.abort(runs[2], "test")
    assert await until_run(fleet, 1) == [runs[3]]

    # Raised: another one begins beside it, at once, and no third one.
    more = [await fleet.add("slow", {"s": 3600}) for _ in range(3)]
    await fleet.control.limit("default", 2, "test")
    await fleet.until_began(more[0])
    with pytest.raises(TimeoutError):
        await begins(fleet, more[1])

    # Removed: all of them.
    await fleet.control.limit("default", None, "test")
    assert await until_run(fleet, 4) == [runs[3], *more]
    assert await most_at_once(fleet) == 4


async def test_a_pause_holds_for_what_is_asked_for_after_it_and_ends_by_itself(
    fleet: Fleet,
) -> None:
    await fleet.start_ready()
    paused = await fleet.control.pause("default", 1.0, "test")
    waits = await fleet.force("short")
    await fleet.until_state(waits, "complete")
    [done] = await fleet.effects(waits, "done")
    assert paused.paused_until_ms is not None
    assert done["at"] >= paused.paused_until_ms


@pytest.mark.slow
@pytest.mark.parametrize("lose", [None, "DROP SCHEMA engine CASCADE", "TRUNCATE engine.pgqueuer"])
async def test_a_dead_hosts_run_keeps_its_place_and_goes_on_in_it(
    fleet: Fleet, lose: str | None
) -> None:
    """Also where the engine's tables were lost, with the jobs of all runs."""
    await fleet.start_ready()
    await fleet.start_ready()
    await fleet.control.limit("default", 2, "test")
    ends, stays = await fleet.force("slow_once", {"s": 25}), await fleet.force("slow", {"s": 3600})
    await fleet.until_began(ends)
    dies = fleet.host_of(await fleet.until_began(stays))
    if dies is fleet.host_of(await fleet.until_began(ends)):
        ends = 0
    waits = [await fleet.add("slow", {"s": 0.1}) for _ in range(4)]
    if lose is not None:
        await fleet.execute(lose)
        await fleet.start_ready()
    dies.kill()
    await fleet.until_began(stays, attempt=2)
    states = [(await fleet.run(run_id)).state for run_id in waits]
    assert states == ["queued"] * 4, fleet.told()
    await fleet.control.abort(stays, "test")
    for run_id in waits:
        assert (await fleet.until_state(run_id, "complete", "failed")).attempts == 1
    assert await most_at_once(fleet) == 2
    if ends:
        assert (await fleet.until_state(ends, "complete", "failed")).attempts == 1


@pytest.mark.slow
async def test_a_limit_holds_while_hosts_die_and_start(fleet: Fleet) -> None:
    """A run takes up its place from its first attempt to its end, also while its host is dead."""
    for _ in range(3):
        await fleet.start_ready()
    await fleet.control.limit("default", 3, "test")
    runs = [await fleet.add("slow", {"s": 0.5}) for _ in range(40)]

    async def running_host() -> Host | None:
        """One that runs a function just then."""
        rows = await fleet.rows(
            "SELECT pid FROM effects GROUP BY pid, run, attempt HAVING bool_and(what = 'began')"
        )
        return next((h for h in fleet.hosts for row in rows if row["pid"] == h.pid), None)

    for _ in range(4):
        dies = await until(running_host, details=fleet.told)
        dies.kill()
        await dies.ended()
        fleet.hosts.remove(dies)
        await fleet.start_ready()
    ended = [await fleet.until_state(run, "complete", "failed", within_s=120) for run in runs]
    assert {run.state for run in ended} == {"complete"}, fleet.told()
    assert sum(run.attempts for run in ended) > len(runs)  # some died
    assert await most_at_once(fleet) == 3
