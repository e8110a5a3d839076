"""Refresh schedules while the database is away: asked for by one process, and never else."""

import orjson
import pytest

from stores.cold.workers.rows import WorkerRow
from stores.hot.store import HotStore, StoreUnavailable
from tests.fixtures.schedules import schedule
from tests.fixtures.upstash import OpenStore
from workers.definition import WorkerDefinition
from workers.effective import declared_row
from workers.refresh import KEY, RefreshSchedules

NOON, MINUTE = 1_795_953_600_000, 60_000


class Asked:
    """Notes what is asked for; `fails`: the store is away at the moment of asking."""

    def __init__(self) -> None:
        self.now_ms = NOON
        self.jobs: list[tuple[str, int | None]] = []
        self.fails = False

    async def ask(self, job_id: str, not_older_than_ms: int | None) -> None:
        if self.fails:
            raise StoreUnavailable("redis: gone")
        if job_id == "unknown":
            raise ValueError("unknown job")
        self.jobs.append((job_id, not_older_than_ms))

    def of(self, store: HotStore) -> RefreshSchedules:
        return RefreshSchedules(store, self.ask, now_ms=lambda: self.now_ms)


def rows(*definitions: WorkerDefinition) -> list[WorkerRow]:
    return [declared_row(definition, "UTC", 0) for definition in definitions]


FIVES = schedule("fives", every_s=300, offset_s=60, refreshes=("collect:5m", "funding"))
DAILY = schedule("daily", cron="1 12 * * *", refreshes=("discovery",))
NONE = [schedule("other", every_s=60), schedule("off", every_s=60, refreshes=("a",), enabled=False)]


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_what_is_due_is_asked_for_once_by_all_processes(
    open_store: OpenStore, asked: Asked
) -> None:
    one, other = asked.of(open_store()), asked.of(open_store())
    for process in (one, other):
        await process.seen(rows(FIVES, DAILY, *NONE))
        process.away()
    assert await one.ask_due() == pytest.approx(30)  # 60 s until the next; the store is looked at
    assert asked.jobs == []
    asked.now_ms = NOON + MINUTE
    for process in (one, other, one):
        await process.ask_due()
    assert sorted(asked.jobs, key=str) == [
        ("collect:5m", NOON),
        ("discovery", NOON + MINUTE),
        ("funding", NOON),
    ]
    asked.now_ms = NOON + 60 * MINUTE  # what nobody asked for meanwhile is one
    await other.ask_due()
    assert asked.jobs[3:] == [("collect:5m", NOON + 55 * MINUTE), ("funding", NOON + 55 * MINUTE)]


async def test_a_document_without_a_new_close_is_fresh(open_store: OpenStore, asked: Asked) -> None:
    """At 12:36 only 5m has closed since 12:30: the others would be asked for at every slot."""
    ui = schedule(
        "ui", every_s=300, offset_s=60, refreshes=("collect:5m", "collect:15m", "collect:1h")
    )
    process = asked.of(open_store())
    await process.seen(rows(ui))
    process.away()
    asked.now_ms = NOON + 36 * MINUTE
    await process.ask_due()
    assert asked.jobs == [
        ("collect:5m", NOON + 35 * MINUTE),
        ("collect:15m", NOON + 30 * MINUTE),
        ("collect:1h", NOON),
    ]


async def test_what_was_due_before_the_database_went_is_its_business(
    open_store: OpenStore, asked: Asked
) -> None:
    process = asked.of(open_store())
    await process.seen(rows(FIVES))
    asked.now_ms = NOON + 3 * MINUTE
    process.back()
    process.away()
    await process.ask_due()
    assert process.is_away
    assert asked.jobs == []
    process.back()
    assert not process.is_away


async def test_a_process_that_begins_meanwhile_knows_them_from_the_store(
    open_store: OpenStore, asked: Asked
) -> None:
    await asked.of(open_store()).seen(rows(FIVES))
    fresh = asked.of(open_store())
    fresh.away()
    asked.now_ms = NOON + MINUTE
    await fresh.ask_due()
    assert [job for job, _ in asked.jobs] == ["collect:5m", "funding"]


async def test_the_store_is_written_when_they_change_alone(
    open_store: OpenStore, asked: Asked
) -> None:
    store = open_store()
    process = asked.of(store)
    await process.seen(rows(FIVES))
    assert [one["name"] for one in orjson.loads(await store.execute("GET", KEY))] == ["fives"]
    await store.execute("DEL", KEY)
    await process.seen(rows(FIVES))
    assert await store.execute("GET", KEY) is None
    await process.seen(rows(FIVES, DAILY))
    assert len(orjson.loads(await store.execute("GET", KEY))) == 2
    # What the store has lost, the process still knows.
    await store.execute("DEL", KEY)
    process.away()
    asked.now_ms = NOON + MINUTE
    await process.ask_due()
    assert len(asked.jobs) == 3


async def test_what_the_store_did_not_take_is_asked_for_again(
    open_store: OpenStore, asked: Asked
) -> None:
    process = asked.of(open_store())
    await process.seen(rows(FIVES))
    process.away()
    asked.now_ms, asked.fails = NOON + MINUTE, True
    assert await process.ask_due() == 1.0
    asked.fails = False
    await process.ask_due()
    assert [job for job, _ in asked.jobs] == ["collect:5m", "funding"]


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"5", b"[5]", b"null", b'["x"]', b'{"a": 1}', b"[" * 100_000),
        b'[{"name": "x", "cron": "no", "every_s": null, "offset_s": 0, "tz": "UTC", "jobs": []}]',
        b'[{"name": "x", "cron": null, "every_s": "5", "offset_s": 0, "tz": "UTC", "jobs": []}]',
        b'[{"name": "x", "cron": null, "every_s": 5, "offset_s": 0, "tz": 7, "jobs": []}]',
        b'[{"name": "x", "cron": null, "every_s": 5, "offset_s": 0, "tz": "UTC", "jobs": 5}]',
    ],
)
async def test_what_others_wrote_there_harms_nobody(
    open_store: OpenStore, asked: Asked, text: bytes
) -> None:
    store = open_store()
    await store.execute("SET", KEY, text)
    process = asked.of(store)
    process.away()
    asked.now_ms = NOON + MINUTE
    assert 0 < await process.ask_due() <= 30
    assert asked.jobs == []


async def test_a_job_that_this_release_does_not_know_stops_no_other(
    open_store: OpenStore, asked: Asked
) -> None:
    process = asked.of(open_store())
    later = schedule("later", every_s=300, offset_s=60, refreshes=("unknown",))
    await process.seen(rows(later, FIVES))
    process.away()
    asked.now_ms = NOON + MINUTE
    await process.ask_due()
    assert [job for job, _ in asked.jobs] == ["collect:5m", "funding"]
