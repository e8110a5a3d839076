"""Control: what an operator may ask of workers, runs and queues, and what is refused, and how."""

import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.cold.workers.queues import FOR_EVER
from stores.cold.workers.run_rows import RunFilter, add_run_now
from tests.fixtures.schedules import Schedules, schedule
from workers.columns import column_errors
from workers.control import Control
from workers.control_errors import (
    CannotRun,
    UnknownQueue,
    UnknownRun,
    UnknownWorker,
    WrongChange,
)

MINUTE, DAY = 60_000, 86_400_000


@pytest.fixture
async def control(schedules: Schedules) -> Control:
    await schedules.sync(
        schedule("closes", every_s=300, origin="code"),
        schedule("funds", cron="0 15 * * 1-5", tz="Asia/Ho_Chi_Minh", queue="slow"),
        schedule("trades", kind="websocket", url="wss://example.com"),
    )
    return Control(schedules.database, enqueue=schedules.jobs.enqueue, cancel=schedules.jobs.cancel)


async def test_a_change_tells_the_next_five_firings(control: Control) -> None:
    changed = await control.change("closes", {"every_s": 60, "offset_s": 7}, "operator")
    first = changed.next_five_ms[0]
    assert changed.next_five_ms == [first + step * MINUTE for step in range(5)]
    assert first % MINUTE == 7000
    assert changed.worker.next_run_ms == first
    assert changed.worker.overrides == {"cron": None, "every_s": 60, "offset_s": 7, "tz": "UTC"}
    changed = await control.change("closes", {"cron": "0 15 * * *", "tz": "Asia/Tokyo"}, "operator")
    assert (changed.worker.cron, changed.worker.every_s) == ("0 15 * * *", None)
    assert [moment % DAY for moment in changed.next_five_ms] == [6 * 3_600_000] * 5
    assert await control.worker("closes") == changed.worker
    changed = await control.change("closes", {"every_s": 300}, "operator")
    assert (changed.worker.cron, changed.worker.every_s) == (None, 300)


async def test_a_worker_that_is_stopped_does_not_make_up_what_it_missed(
    schedules: Schedules, control: Control
) -> None:
    await schedules.due_at("closes", 5)
    stopped = await control.set_enabled("closes", False, "operator")
    assert (stopped.enabled, stopped.next_run_ms) == (False, None)
    assert control.next_firings(stopped) == []
    assert await schedules.ticker("closes").tick() == []
    started = await control.set_enabled("closes", True, "operator")
    assert started.next_run_ms is not None
    assert started.next_run_ms > 1_700_000_000_000
    assert (await control.set_enabled("trades", False, "operator")).enabled is False


WRONG: Final[dict[str, list[Any]]] = {
    "cron": ["99 * * * *", "* * * *", "@daily", 5, True, [], "0 0 31 2 *"],
    "every_s": [0, -1, 1.5, True, "60", 10**12, math.nan],
    "offset_s": [-1, 300, "0", None, True],
    "tz": ["Mars/Olympus", "", None, 5, "../UTC", "x" * 5000],
    "queue": ["", "Upper", "with space", None, 5, "x" * 65],
    "egress": ["", "two words", None, 5, "x" * 65],
    "timeout_s": [0, -1, math.inf, math.nan, "5", None, True, 86_401],
    "max_attempts": [0, 101, 1.0, "3", None, True],
    "on_missed": ["two", "", None, True],
    "enabled": ["yes", 1, 0, None],
    "name": ["other"],
    "next_run": [5],
    "no\x1bsuch": [5],
}


@pytest.mark.parametrize("column", WRONG)
async def test_what_cannot_be_changed_so_is_told_and_changes_nothing(
    schedules: Schedules, control: Control, column: str
) -> None:
    before = await control.worker("closes")
    for value in WRONG[column]:
        with pytest.raises(WrongChange) as raised:
            await control.change("closes", {column: value, "timeout_s": 5} | {column: value}, "x")
        fields = [field for field, _ in raised.value.errors]
        assert fields == [column.replace("\x1b", " ")]
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 400
    assert await control.worker("closes") == before


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, ["change"]),
        ({"cron": "* * * * *", "every_s": 60}, ["cron"]),
        ({"cron": "61 * * * *", "tz": "Mars"}, ["tz"]),
        ({"every_s": 0, "queue": "", "enabled": 2}, ["every_s", "queue", "enabled"]),
        ({"every_s": 60, "offset_s": 60}, ["offset_s"]),
        ({"tz": "Asia/Tokyo", "offset_s": 5, "cron": "* * * * *"}, ["offset_s"]),
    ],
)
async def test_all_wrong_fields_are_told(
    control: Control, changes: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(WrongChange) as raised:
        await control.change("closes", changes, "x")
    assert [field for field, _ in raised.value.errors] == fields


async def test_a_websocket_worker_has_no_timetable_and_no_runs(control: Control) -> None:
    with pytest.raises(WrongChange, match="every_s: cannot be changed of a WebSocket worker"):
        await control.change("trades", {"every_s": 5}, "x")
    with pytest.raises(CannotRun, match="trades is a WebSocket worker"):
        await control.force("trades", "x")


@given(
    st.dictionaries(
        st.sampled_from([*WRONG, "other"]) | st.text(max_size=9),
        st.one_of(
            *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
            st.lists(st.integers(), max_size=2),
        ),
        max_size=4,
    )
)
def test_any_value_is_taken_or_told(values: dict[str, Any]) -> None:
    for field, message in column_errors("schedule", values):
        assert field.isprintable()
        assert message.isprintable()


async def test_unknown_names_are_told_with_those_like_them(control: Control) -> None:
    with pytest.raises(UnknownWorker, match="no worker close; did you mean closes") as raised:
        await control.worker("close")
    assert raised.value.near == ["closes"]
    for name in ("", "\0", "x\ny", "ü", "x" * 10_000, "'; DROP TABLE worker"):
        for asked in (
            control.worker(name),
            control.change(name, {"every_s": 5}, "x"),
            control.set_enabled(name, True, "x"),
            control.without_override(name, "x"),
            control.force(name, "x"),
        ):
            with pytest.raises(UnknownWorker) as refused:
                await asked
            assert str(refused.value).isprintable()
            assert len(str(refused.value)) < 200


async def test_a_forced_run_is_queued_at_once_and_a_second_joins_it(
    schedules: Schedules, control: Control
) -> None:
    forced = await control.force("closes", "operator")
    assert (forced.coalesced, forced.run.why, forced.run.state) == (False, "force", "queued")
    assert forced.run.slot_ms % 1000 != 0
    [job] = await schedules.sql("SELECT id, run, queue FROM noted_job")
    assert (job["id"], job["run"], job["queue"]) == (forced.run.job_id, forced.run.id, "default")
    again = await control.force("closes", "operator")
    assert (again.coalesced, again.run.state) == (True, "coalesced")
    assert again.run.result == {"joined": forced.run.id}
    assert len(await schedules.sql("SELECT 1 FROM noted_job")) == 1
    # Of a worker that is stopped, too, and on the queue that it has now.
    await control.set_enabled("funds", False, "operator")
    assert (await control.force("funds", "operator")).run.queue == "slow"


async def test_forced_runs_at_once_have_slots_of_their_own(
    schedules: Schedules, control: Control
) -> None:
    slots = set()
    for _ in range(20):
        slots.add((await control.force("closes", "x")).run.slot_ms)
        await schedules.end_runs()
    assert len(slots) == 20

    async def parts(connection: Any) -> list[int]:
        added = [
            await add_run_now(
                connection, worker="part", why="part", queue="default", input={"n": n}, alone=False
            )
            for n in range(200)
        ]
        assert {run.state for run in added} == {"queued"}
        return [run.slot_ms for run in added]

    found = await schedules.database.workers.in_transaction(parts)
    assert len(set(found)) == 200
    assert not any(slot % 1000 == 0 for slot in found)


async def test_a_run_is_aborted_once(schedules: Schedules, control: Control) -> None:
    forced = await control.force("closes", "x")
    await schedules.sql(
        "UPDATE worker_run SET (state, claim, host) = ('running', gen_random_uuid(), 'a')"
    )
    aborted = await control.abort(forced.run.id, "operator")
    assert (aborted.state, aborted.error) == ("aborted", "aborted by operator")
    assert aborted.finished_at_ms is not None
    assert await schedules.sql("SELECT 1 FROM noted_job") == []
    assert [row["claim"] for row in await schedules.sql("SELECT claim FROM worker_run")] == [None]
    with pytest.raises(CannotRun, match="is over: it is aborted"):
        await control.abort(forced.run.id, "operator")


async def test_a_run_that_is_over_is_tried_again_with_its_input(
    schedules: Schedules, control: Control
) -> None:
    forced = await control.force("funds", "x", input={"day": "2026-11-30"})
    with pytest.raises(CannotRun, match="is queued as yet"):
        await control.retry(forced.run.id, "x")
    await schedules.end_runs("failed")
    retried = await control.retry(forced.run.id, "x")
    assert (retried.run.why, retried.run.state) == ("retry", "queued")
    assert retried.run.input == {"day": "2026-11-30"}
    assert retried.run.id != forced.run.id


@pytest.mark.parametrize("run_id", [-1, 0, 5, 2**63 - 1, 2**63, 10**30])
async def test_unknown_runs(control: Control, run_id: int) -> None:
    for asked in (control.run(run_id), control.abort(run_id, "x"), control.retry(run_id, "x")):
        with pytest.raises(UnknownRun):
            await asked


async def test_where_schedules_are_off_nothing_runs(schedules: Schedules, control: Control) -> None:
    off = Control(schedules.database, enqueue=None, cancel=None)
    with pytest.raises(CannotRun, match="SCHEDULES is off"):
        await off.force("closes", "x")
    assert (await off.set_enabled("closes", False, "x")).enabled is False


async def test_runs_are_told_the_newest_first(schedules: Schedules, control: Control) -> None:
    ids = []
    for number in range(5):
        name = "closes" if number % 2 == 0 else "funds"
        ids.append((await control.force(name, "x")).run.id)
        await schedules.end_runs("failed" if number == 3 else "complete")
    ids.reverse()

    async def told(which: RunFilter, before: tuple[int, int] | None = None) -> list[int]:
        return [run.id for run in await control.runs(which, before, limit=2)]

    first = await control.runs(RunFilter(), limit=2)
    assert [run.id for run in first] == ids[:2]
    assert await told(RunFilter(), (first[-1].slot_ms, first[-1].id)) == ids[2:4]
    assert await told(RunFilter(worker="funds")) == [ids[1], ids[3]]
    assert await told(RunFilter(states=["failed"])) == [ids[1]]
    assert await told(RunFilter(why=["schedule"])) == []
    assert await told(RunFilter(from_ms=first[0].slot_ms)) == [ids[0]]
    assert await told(RunFilter(to_ms=first[0].slot_ms)) == ids[1:3]
    latest = await schedules.database.run_rows.latest(["closes", "funds", "trades"])
    assert {name: run.id for name, run in latest.items()} == {"closes": ids[0], "funds": ids[1]}


async def test_queues_are_those_that_somebody_names(schedules: Schedules, control: Control) -> None:
    await control.change("closes", {"egress": "tokyo"}, "x")
    await control.force("closes", "x")
    assert [(queue.name, queue.queued, queue.running) for queue in await control.queues()] == [
        ("default", 0, 0),
        ("egress:tokyo", 1, 0),
        ("slow", 0, 0),
    ]
    paused = await control.pause("slow", None, "x")
    assert paused.paused_until_ms == FOR_EVER
    assert (await control.resume("slow", "x")).paused_until_ms is None
    [now] = await schedules.sql("SELECT (extract(epoch FROM now()) * 1000)::bigint AS ms")
    paused = await control.pause("slow", 3600, "x")
    assert paused.paused_until_ms is not None
    assert 0 <= paused.paused_until_ms - 3_600_000 - now["ms"] < 60_000
    assert (await control.limit("slow", 3, "x")).concurrency == 3
    assert (await control.queues())[-1].concurrency == 3
    assert (await control.limit("slow", None, "x")).concurrency is None
    for name in ("slo", "", "\0", "ü" * 500):
        with pytest.raises(UnknownQueue):
            await control.pause(name, 5, "x")
    for seconds in (0, -1, math.nan, math.inf):
        with pytest.raises(WrongChange, match="for: "):
            await control.pause("slow", seconds, "x")
    for concurrency in (0, -1, 10**6, True):
        with pytest.raises(WrongChange, match="concurrency: "):
            await control.limit("slow", concurrency, "x")
