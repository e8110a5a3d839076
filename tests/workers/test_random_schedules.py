"""Random schedules, edits, crashes and gaps: what fires is what a plain loop says, each once."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from database import DatabaseUnavailable
from stores.cold.pool import Connection
from tests.fixtures.schedules import Schedules, schedule
from tests.workers.naive_schedule import NaiveWorker, Rule
from workers.control import Control

BEGIN = 1_806_192_000_000  # 2027-03-28 00:00 UTC, an hour before Prague's clocks go forth
NAMES = ("one", "two", "skips")

periods = st.sampled_from([60, 300, 900, 3600, 86_400])
every = st.tuples(periods, st.integers(0, 59)).map(lambda t: Rule(every_s=t[0], offset_s=t[1]))
crons = st.sampled_from(
    ["*/10 * * * *", "30 2 * * *", "5,50 1-3 * * *", "0 0 * * 1", "*/15 2 * * *"]
)
zones = st.sampled_from(["UTC", "Europe/Prague", "Asia/Kathmandu"])
rules = every | st.tuples(crons, zones).map(lambda t: Rule(cron=t[0], tz=t[1]))


STOPPED = Rule()


@dataclass(frozen=True)
class Step:
    """After a while (ms): so many tickers tick, or crash in the middle; or a worker is changed."""

    after_ms: int
    tickers: int = 0
    crashes: bool = False
    name: str = ""
    rule: Rule = STOPPED


gaps = st.sampled_from([1, 999, 30_000, 60_000, 61_000, 299_999, 300_000, 4_000_000, 90_000_000])
steps = st.one_of(
    st.builds(Step, gaps, st.integers(1, 3), st.booleans()),
    st.builds(Step, gaps, name=st.sampled_from(NAMES[:2]), rule=rules | st.just(STOPPED)),
)


async def crashes(
    connection: Connection, run_id: int, queue: str, not_before_ms: int | None = None
) -> int:
    await connection.execute("SELECT 1 / 0")
    return 0


class Happening:
    """The steps, on the database, and on the naive workers beside it."""

    def __init__(self, schedules: Schedules, given: dict[str, Rule]) -> None:
        self.schedules = schedules
        self.now_ms = BEGIN
        self.naive = {
            name: NaiveWorker(rule, BEGIN, name == "skips") for name, rule in given.items()
        }
        self.ticks: list[int] = []
        self.control = Control(
            schedules.database, enqueue=None, cancel=None, now_ms=lambda: self.now_ms
        )

    async def begin(self) -> None:
        await self.schedules.open()
        await self.schedules.sync(
            *(
                schedule(
                    name,
                    cron=worker.rule.cron,
                    every_s=worker.rule.every_s,
                    offset_s=worker.rule.offset_s,
                    tz=worker.rule.tz,
                    on_missed="skip" if worker.skips else "one",
                )
                for name, worker in self.naive.items()
            )
        )
        for name, worker in self.naive.items():
            first = worker.rule.instants(BEGIN, BEGIN + 30 * 86_400_000)[0]
            await self.schedules.due_at(name, first)

    async def take(self, step: Step) -> None:
        self.now_ms += step.after_ms
        if step.name:
            given: dict[str, Any] = {"enabled": step.rule != STOPPED}
            if given["enabled"]:
                rule = step.rule
                given |= {"cron": rule.cron, "every_s": rule.every_s}
                given |= {"offset_s": rule.offset_s, "tz": rule.tz}
            await self.control.change(step.name, given, "operator")
            self.naive[step.name].changes.append((self.now_ms, step.rule))
            return
        self.schedules.now_ms = self.now_ms
        if step.crashes:
            try:
                await self.schedules.ticker(*NAMES, enqueue=crashes).tick()
            except DatabaseUnavailable:
                return  # all is as before: nothing has been served
        tickers = [self.schedules.ticker(*NAMES) for _ in range(step.tickers)]
        await asyncio.gather(*(ticker.tick() for ticker in tickers))
        self.ticks.append(self.now_ms)
        await self.schedules.end_runs()

    async def compare(self) -> None:
        fired: dict[str, list[int]] = {name: [] for name in self.naive}
        for name, slot_ms, why, _ in await self.schedules.runs():
            assert why == "schedule"
            fired[name].append(slot_ms)
        for name, worker in self.naive.items():
            assert fired[name] == worker.slots(self.ticks, self.now_ms), (name, worker, self.ticks)
        [row] = await self.schedules.sql(
            "SELECT (SELECT count(*) FROM worker_run) AS runs, count(DISTINCT run) AS jobs,"
            " count(*) AS all_jobs FROM noted_job"
        )
        assert row["runs"] == row["jobs"] == row["all_jobs"]


happenings = given(
    begun=st.fixed_dictionaries({name: rules for name in NAMES}),
    taken=st.lists(steps, min_size=3, max_size=14),
)


@settings(max_examples=8)
@happenings
def test_what_fires_is_what_a_plain_loop_says(
    _schedules_url: str, begun: dict[str, Rule], taken: list[Step]
) -> None:
    asyncio.run(happen(_schedules_url, begun, taken))


@pytest.mark.slow
@settings(max_examples=150)
@happenings
def test_the_same_many_times(
    _schedules_url: str, begun: dict[str, Rule], taken: list[Step]
) -> None:
    asyncio.run(happen(_schedules_url, begun, taken))


async def happen(url: str, begun: dict[str, Rule], taken: list[Step]) -> None:
    schedules = Schedules(url)
    happening = Happening(schedules, begun)
    try:
        await happening.begin()
        for step in [*taken, Step(1000, 1)]:
            await happening.take(step)
        await happening.compare()
    finally:
        await schedules.aclose()
