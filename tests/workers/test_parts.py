"""Runs of parts, which other hosts do for a job: asked for, ended, and forgotten by nobody."""

from tests.fixtures.schedules import Schedules
from workers.parts import Parts

HOUR_MS = 3_600_000


async def test_a_part_that_nobody_has_ended_ends_by_its_age(schedules: Schedules) -> None:
    """Its asker has died, and the address that it waits for does not come back."""
    jobs = schedules.jobs
    parts = Parts(schedules.database, enqueue=jobs.enqueue, cancel=jobs.cancel)
    old = await parts.ask("collect_part", "egress:gone", {"part": "a"})
    late = await parts.ask("collect_part", "egress:slow", {"part": "b"})
    for run_id, hours in ((old, 3), (late, 1)):
        await schedules.sql(
            "UPDATE worker_run SET queued_at = queued_at - $2 WHERE id = $1",
            *(run_id, hours * HOUR_MS),
        )
    await parts.abandon_old()
    ends = await parts.ends([old, late])
    assert (ends[old].state, ends[late].state) == ("aborted", "queued")
    rows = await schedules.sql("SELECT run FROM noted_job")
    assert [row["run"] for row in rows] == [late]
    await parts.abandon_old()  # nothing is left to end


async def test_runs_of_schedules_do_not_end_by_their_age(schedules: Schedules) -> None:
    jobs = schedules.jobs
    parts = Parts(schedules.database, enqueue=jobs.enqueue, cancel=jobs.cancel)
    run_id = await parts.ask("nightly", "default", {})
    await schedules.sql(
        "UPDATE worker_run SET why = 'force', queued_at = queued_at - $2 WHERE id = $1",
        *(run_id, 3 * HOUR_MS),
    )
    await parts.abandon_old()
    assert (await parts.ends([run_id]))[run_id].state == "queued"
