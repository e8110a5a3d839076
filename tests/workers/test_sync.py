"""Sync: code's rows are inserted and brought up to date, and what an operator set stays."""

import asyncio

import pytest
from pydantic import BaseModel, SecretStr

from tests.fixtures.schedules import Schedules, schedule
from workers.control import Control
from workers.definition import WrongWorkers

DAY = 86_400_000


class FundsConfig(BaseModel):
    """The configuration of a worker."""

    url: str
    key: SecretStr = SecretStr("hidden")


async def test_rows_say_what_code_declares(schedules: Schedules) -> None:
    await schedules.sync(
        schedule(
            "funds",
            cron="0 15 * * 1-5",
            tz="Asia/Ho_Chi_Minh",
            queue="slow",
            egress="tokyo",
            timeout_s=60.0,
            max_attempts=5,
            on_missed="skip",
            refreshes=("collect:5m",),
            config=FundsConfig,
            databases=("main",),
            description="funds' values",
        ),
        schedule("part", listed=False),
    )
    [row] = await schedules.database.workers.all()
    assert (row.name, row.kind, row.origin) == ("funds", "schedule", "user")
    assert (row.cron, row.every_s, row.offset_s) == ("0 15 * * 1-5", None, 0)
    assert (row.tz, row.queue, row.egress) == ("Asia/Ho_Chi_Minh", "slow", "tokyo")
    assert (row.timeout_s, row.max_attempts, row.on_missed) == (60.0, 5, "skip")
    assert (row.enabled, row.overrides, row.changed_by) == (True, {}, "code")
    assert row.runs_on == "egress:tokyo"
    assert row.refreshes == ("collect:5m",)
    assert row.declared["place"] == "plugins/funds.py:1"
    assert row.declared["description"] == "funds' values"
    assert row.declared["databases"] == ["main"]
    assert set(row.declared["config"]["properties"]) == {"url", "key"}
    assert row.declared["config"]["properties"]["key"]["writeOnly"] is True
    assert "hidden" not in str(row.declared)
    assert row.next_run_ms is not None
    # 15:00 in Ho Chi Minh City is 08:00 UTC.
    assert row.next_run_ms % DAY == 8 * 3_600_000


async def test_a_schedule_without_zone_has_that_of_the_setting(schedules: Schedules) -> None:
    schedules.settings = schedules.settings.model_copy(update={"schedule_tz": "Europe/Prague"})
    [row] = await schedules.sync(schedule("noon", cron="0 12 * * *"))
    assert row.tz == row.declared["tz"] == "Europe/Prague"


async def test_what_has_not_changed_is_not_written(schedules: Schedules) -> None:
    definition = schedule("fives", every_s=300, options={"deadline_s": (1, 2)})
    await schedules.sync(definition)
    await schedules.due_at("fives", 5)  # missed since long ago: it is made up, not forgotten
    before = await schedules.sql("SELECT xmin, * FROM worker")
    [row] = await schedules.sync(definition)
    assert await schedules.sql("SELECT xmin, * FROM worker") == before
    assert row.next_run_ms == 5


async def test_code_that_says_something_else_rules_but_for_overrides(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300, timeout_s=10.0, queue="old"))
    control = Control(schedules.database, enqueue=None, cancel=None)
    await control.change("fives", {"every_s": 60, "timeout_s": 20}, "operator")
    await schedules.sync(schedule("fives", every_s=7200, timeout_s=30.0, queue="new"))
    row = await control.worker("fives")
    assert (row.every_s, row.timeout_s, row.queue) == (60, 20.0, "new")
    assert row.declared["every_s"] == 7200
    row = (await control.without_override("fives", "operator")).worker
    assert (row.every_s, row.timeout_s, row.overrides) == (7200, 30.0, {})
    assert row.changed_by == "operator"


async def test_a_new_timetable_begins_once_what_was_due_has_fired(schedules: Schedules) -> None:
    await schedules.sync(schedule("fives", every_s=300))
    await schedules.due_at("fives", 5)
    [row] = await schedules.sync(schedule("fives", every_s=3600))
    assert row.next_run_ms == 5
    await schedules.due_at("fives", 2**53)
    [row] = await schedules.sync(schedule("fives", every_s=86_400))
    assert row.next_run_ms is not None
    assert row.next_run_ms % DAY == 0
    assert row.next_run_ms > 1_700_000_000_000


async def test_hosts_that_start_at_once_agree(schedules: Schedules) -> None:
    definitions = [schedule(f"w{number}", every_s=300) for number in range(9)]
    await asyncio.gather(*(schedules.sync(*definitions) for _ in range(4)))
    assert len(await schedules.database.workers.all()) == 9


async def test_rows_of_other_hosts_workers_stay(schedules: Schedules) -> None:
    await schedules.sync(schedule("here", every_s=300), schedule("there", every_s=300))
    await schedules.sync(schedule("here", every_s=300))
    assert [row.name for row in await schedules.database.workers.all()] == ["here", "there"]


async def test_wrong_schedules_stop_the_start_with_their_places(schedules: Schedules) -> None:
    with pytest.raises(WrongWorkers) as raised:
        await schedules.sync(
            schedule("fine", every_s=300),
            schedule("funds", cron="99 * * * *"),
            schedule("trades", every_s=60, offset_s=60),
        )
    first, second = raised.value.lines
    assert first.startswith("plugins/funds.py:1: worker funds: cron: '99 * * * *': Bad minute")
    assert second.startswith("plugins/trades.py:1: worker trades: offset_s: 60: must be")
    assert await schedules.database.workers.all() == []
