"""A simulated week: hosts come and go, clocks change both ways, stores restart, schedules change.

The time is the test's, the stores are real. What the run table has is compared with a plain loop
over cronsim (naive_schedule.py).
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import pytest

from database import Database
from stores.hot.opening import open_hot_store
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.schedules import Schedules, schedule
from tests.fixtures.upstash import OwnValkey
from tests.workers.naive_schedule import NaiveWorker, Rule
from workers.changes import Changes
from workers.control import Control
from workers.definition import WorkerDefinition
from workers.refresh import RefreshSchedules
from workers.ticker import Ticker


def ms(text: str) -> int:
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


# Prague's clocks go forth on 2027-03-28 at 01:00Z; Lord Howe's go back by half an hour on
# 2027-04-03 at 15:00Z, and Auckland's by an hour at 14:00Z.
BEGIN, END = ms("2027-03-28 00:00"), ms("2027-04-04 00:00")
MINUTE, HOUR = 60_000, 3_600_000
ASKED: Final = "collect:5m"
RULES: Final = {
    "ui": Rule(every_s=3 * 3600, offset_s=60),
    "edited": Rule(every_s=7200),
    "stopped": Rule(every_s=3 * 3600, offset_s=900),
    "prague": Rule(cron="30 2 * * *", tz="Europe/Prague"),
    "prague_quarters": Rule(cron="*/15 2 * * *", tz="Europe/Prague"),
    "lord_howe": Rule(cron="45 1 * * *", tz="Australia/Lord_Howe"),
    "auckland": Rule(cron="15,45 2 * * *", tz="Pacific/Auckland"),
    "auckland_hours": Rule(cron="0 */4 * * *", tz="Pacific/Auckland"),
    "hanoi": Rule(cron="0 15 * * 1-5", tz="Asia/Ho_Chi_Minh"),
    "last_day": Rule(cron="0 12 L * *"),
    "skips": Rule(every_s=6 * 3600),
    "skips_daily": Rule(cron="17 3 * * *"),
}
# As the service has them.
OFTEN: Final = {
    "historical_data": Rule(every_s=900, offset_s=120),
    "funding": Rule(cron="1 * * * *"),
}
# Of the operator: what is asked of control, and the rule that holds from then on.
EDITS: Final[list[tuple[str, str, dict[str, Any] | None, Rule]]] = [
    ("2027-03-28 09:30:17", "edited", {"every_s": 5400}, Rule(every_s=5400)),
    ("2027-03-29 01:07:03", "stopped", {"enabled": False}, Rule()),
    (
        "2027-03-29 11:11:11",
        "edited",
        {"cron": "40 */3 * * *", "tz": "Asia/Kathmandu"},
        Rule(cron="40 */3 * * *", tz="Asia/Kathmandu"),
    ),
    ("2027-03-30 18:00:01", "stopped", {"enabled": True}, Rule(every_s=3 * 3600, offset_s=900)),
    ("2027-04-01 00:00:31", "edited", None, Rule(every_s=7200)),
    (
        "2027-04-02 05:05:05",
        "edited",
        {"every_s": 1800, "offset_s": 77},
        Rule(every_s=1800, offset_s=77),
    ),
]
# The database is killed and begins again; the first of them over a change of clocks.
AWAY: Final = [
    ("2027-03-28 00:40:00", "2027-03-28 01:20:00"),
    ("2027-03-30 02:00:00", "2027-03-30 11:30:00"),
    ("2027-04-03 12:50:00", "2027-04-03 16:10:00"),
]
# Nobody ticks.
ALONE: Final = [
    ("2027-03-29 03:00:00", "2027-03-29 08:20:00"),
    ("2027-04-01 23:50:00", "2027-04-02 04:00:00"),
]
STORE_KILLED: Final = ("2027-03-30 03:30:00", "2027-03-30 05:30:00")
STORE_EMPTIED: Final = "2027-04-03 12:40:00"


class Host:
    """A process that ticks, with a clock that the test sets."""

    def __init__(self, week: "Week") -> None:
        self.week = week
        self.database = Database(week.postgres.url)
        self.store = open_hot_store(week.valkey.url, client_name="host")
        self.changes = Changes(self.database)
        self.refreshes = RefreshSchedules(self.store, week.ask, now_ms=week.time)
        self.ticker = Ticker(
            self.database,
            list(week.naive),
            week.schedules.jobs.enqueue,
            self.changes,
            refreshes=self.refreshes,
            now_ms=week.time,
        )

    async def tick(self) -> None:
        await self.ticker.round()
        if self.refreshes.is_away:
            await self.refreshes.ask_due()

    async def aclose(self) -> None:
        await self.store.aclose()
        await self.database.aclose()


class Week:
    """The week: what happens when, and what it makes of the stores."""

    def __init__(
        self, postgres: OwnPostgres, valkey: OwnValkey, rules: dict[str, Rule], seed: int
    ) -> None:
        self.postgres, self.valkey = postgres, valkey
        self.random = random.Random(seed)  # noqa: S311 - which hosts are up
        self.schedules = Schedules(postgres.url)
        self.naive = {
            name: NaiveWorker(rule, BEGIN, skips=name.startswith("skips"))
            for name, rule in rules.items()
        }
        self.now_ms = BEGIN
        self.ticks: list[int] = []  # at which somebody could fire
        self.asked: list[int] = []
        self.should_ask: list[int] = []
        self.hosts: list[Host] = []

    def time(self) -> int:
        return self.now_ms

    async def ask(self, job_id: str, not_older_than_ms: int | None) -> None:
        assert job_id == ASKED
        assert not_older_than_ms is not None
        self.asked.append(not_older_than_ms)

    def definitions(self) -> Iterator[WorkerDefinition]:
        for name, worker in self.naive.items():
            rule = worker.rule
            yield schedule(
                name,
                cron=rule.cron,
                every_s=rule.every_s,
                offset_s=rule.offset_s,
                tz=rule.tz,
                on_missed="skip" if worker.skips else "one",
                refreshes=(ASKED,) if name == "ui" else (),
            )

    def tick_times(self) -> list[int]:
        """Where something is due, mostly, at once or somewhat later; and at times of no meaning."""
        due = set()
        for worker in self.naive.values():
            rules = [(BEGIN, worker.rule), *worker.changes, (END, Rule())]
            for (from_ms, rule), (until_ms, _) in pairwise(rules):
                due.update(rule.instants(from_ms, until_ms))
        late = (0, 0, 3, 250, 1700, 31_000, 59_000)
        times = {at + self.random.choice(late) for at in sorted(due) if self.random.random() < 0.9}
        times |= {self.random.randrange(BEGIN, END) for _ in range(20)}
        alone = [(ms(begin), ms(end)) for begin, end in ALONE]
        return sorted(at for at in times if at < END and not any(a <= at < b for a, b in alone))

    async def run(self) -> None:
        """Lets it all happen, one after another."""
        for at, name, _, rule in EDITS:
            if name in self.naive:
                self.naive[name].changes.append((ms(at), rule))
        happenings: list[tuple[int, Callable[[], Any]]] = [
            *((time, self.tick) for time in self.tick_times()),
            *((ms(time), self.edit(name, given)) for time, name, given, _ in EDITS),
            *((ms(begin), self.kill_database) for begin, _ in AWAY),
            *((ms(end), self.start_database) for _, end in AWAY),
            (ms(STORE_KILLED[0]), self.kill_store),
            (ms(STORE_KILLED[1]), self.start_store),
            (ms(STORE_EMPTIED), self.empty_store),
        ]
        await self.begin()
        for moment_ms, happen in sorted(happenings, key=lambda one: one[0]):
            self.now_ms = moment_ms
            await happen()
        self.now_ms = END - 1
        await self.tick()

    async def begin(self) -> None:
        self.database_away = self.store_away = False
        self.due_to_ask: list[int] = []
        self.asked_until = BEGIN
        await self.schedules.open()
        await self.schedules.sync(*self.definitions())
        for name, worker in self.naive.items():
            [first, *_] = worker.rule.instants(BEGIN, END + 30 * 24 * HOUR)
            await self.schedules.due_at(name, first)
        self.control = Control(
            self.schedules.database,
            enqueue=self.schedules.jobs.enqueue,
            cancel=self.schedules.jobs.cancel,
            now_ms=self.time,
        )
        self.hosts = [Host(self)]

    async def tick(self) -> None:
        """The hosts that are up tick at once; the first one always is."""
        for number in range(2, 0, -1):
            if self.random.random() < 0.1 and len(self.hosts) > number:
                await self.hosts.pop().aclose()
            elif self.random.random() < 0.1 and len(self.hosts) == number:
                self.hosts.append(Host(self))
        await asyncio.gather(*(host.tick() for host in self.hosts))
        slots = self.naive["ui"].rule.instants(self.asked_until, self.now_ms)
        self.asked_until = self.now_ms
        if not self.database_away:
            self.ticks.append(self.now_ms)
            self.due_to_ask.clear()
            if self.random.random() < 0.9:
                await self.schedules.end_runs()
            return
        self.due_to_ask += slots
        if not self.store_away and self.due_to_ask:
            self.should_ask.append(self.due_to_ask[-1] - MINUTE)
            self.due_to_ask.clear()

    def edit(self, name: str, given: dict[str, Any] | None) -> Callable[[], Any]:
        async def change() -> None:
            if given is None:
                await self.control.without_override(name, "operator")
            else:
                await self.control.change(name, given, "operator")

        return change

    async def kill_database(self) -> None:
        self.postgres.kill()
        self.database_away = True

    async def start_database(self) -> None:
        await asyncio.to_thread(self.postgres.start)
        self.database_away = False

    async def kill_store(self) -> None:
        self.valkey.kill()
        self.store_away = True

    async def start_store(self) -> None:
        self.valkey.start()
        self.store_away = False

    async def empty_store(self) -> None:
        await self.hosts[0].store.execute("UNLINK", "worker:refresh")

    async def compare(self) -> None:
        fired: dict[str, list[int]] = {name: [] for name in self.naive}
        for name, slot_ms, why, _ in await self.schedules.runs():
            assert why == "schedule"
            fired[name].append(slot_ms)
        for name, worker in self.naive.items():
            assert fired[name] == worker.slots(self.ticks, END), name
        unlike = await self.schedules.sql(
            "SELECT r.worker, r.slot, r.state, count(j.id) FROM worker_run AS r"
            " LEFT JOIN noted_job AS j ON j.run = r.id GROUP BY r.worker, r.slot, r.state"
            " HAVING count(j.id) <> (r.state <> 'coalesced')::integer"
        )
        assert unlike == []
        assert self.asked == self.should_ask
        assert len(self.asked) >= len(AWAY)

    async def aclose(self) -> None:
        for host in self.hosts:
            await host.aclose()
        await self.schedules.aclose()


async def simulate(
    postgres: OwnPostgres, valkey: OwnValkey, rules: dict[str, Rule], seed: int
) -> int:
    """How many runs there were."""
    week = Week(postgres, valkey, rules, seed)
    try:
        await week.run()
        await week.compare()
        return len(await week.schedules.runs())
    finally:
        await week.aclose()


async def test_a_week_has_every_run_once(
    own_postgres: OwnPostgres, own_valkey: Callable[..., OwnValkey]
) -> None:
    assert await simulate(own_postgres, own_valkey(), RULES, seed=5) > 150


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(3))
async def test_a_week_of_the_service_has_every_run_once(
    own_postgres: OwnPostgres, own_valkey: Callable[..., OwnValkey], seed: int
) -> None:
    assert await simulate(own_postgres, own_valkey(), RULES | OFTEN, seed) > 700
