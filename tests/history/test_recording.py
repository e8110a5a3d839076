"""The job `record` and its lane: when it is queued, what a failure is followed by, and that a
worker of the release before leaves it alone."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from config import load_settings
from database import DatabaseUnavailable, HistoryPublishes, HistoryTables
from documents.names import GLOBAL_FR
from job_queue.transitions import TAKE
from jobs.due import queue_due_jobs
from jobs.recording_wish import RecordingWish
from stores.hot.journal import JOURNAL, STORE_ID, read_state
from stores.hot.leases import try_acquire
from stores.hot.replies import anything
from tests.fixtures.clock import ManualClock
from tests.fixtures.jobs import JobRunner, OpenRunner
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.fixtures.upstash import OwnValkey
from worker import Worker


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=2, bybit=2, now=NOW_MS, frozen=True)


async def test_publishes_are_recorded_and_the_lane_is_its_own(
    exchanges: Simulator, open_runner: OpenRunner, database_url: str
) -> None:
    async with open_runner(exchanges) as runner:
        context = runner.context
        for job in ("discovery", "funding", "collect:4h"):
            await runner.complete(job)
        # Another lane's job runs meanwhile.
        lease = await try_acquire(context.store, "worker", holder="test", ttl_s=60)
        assert lease is not None
        result = await runner.complete("record")
        await lease.release()
        assert (result["entries"], result["gaps"]) == (3, [])
        document = await runner.document("4h")
        closed = 4 * (len(document["markets"][0]["rows"]) - 1)
        value = context.metrics.registry.get_sample_value
        assert value("perpcache_history_versions_total") == 3
        assert value("perpcache_history_rows_total") == result["recorded"] > closed
        assert value("perpcache_history_gaps_total") == 0
        session = await asyncpg.connect(database_url, timeout=30)
        found = await session.fetch(
            "SELECT known_at, count(*) AS n FROM history_recent JOIN history_series"
            " USING (series_id) WHERE interval_ms = 14400000 AND kind = 'candles' GROUP BY 1"
        )
        funding_ms = await session.fetchval(
            "SELECT funding_updated_at FROM history_publishes WHERE document = '4h'"
        )
        await session.close()
        assert [tuple(row) for row in found] == [(document["updated_at"], closed)]
        assert funding_ms == (await runner.document(GLOBAL_FR))["updated_at"]


async def test_without_history_nothing_is_left_and_nothing_recorded(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    async with open_runner(exchanges, history="off") as runner:
        context = runner.context
        for job in ("discovery", "funding", "collect:4h"):
            await runner.complete(job)
        assert (await read_state(context.store)).waiting == 0
        assert await runner.complete("record") == {
            "entries": 0,
            "recorded": 0,
            "gaps": [],
            "duration_ms": pytest.approx(0, abs=60_000),
        }
        assert await context.database.publishes.cursors() == {}


async def test_what_waits_when_history_is_turned_off_is_recorded_once_it_is_on_again(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    async with open_runner(exchanges) as runner:
        await runner.complete("funding")
        await runner.context.queue.request("record")
    async with open_runner(exchanges, history="off") as runner:
        context, stop = runner.context, asyncio.Event()
        worker = asyncio.create_task(Worker(context, holder="off:1").run(stop))
        await context.queue.request("discovery")

        async def is_discovered() -> bool:
            found = await context.queue.get("discovery")
            return found is not None and found.state == "complete"

        await until(is_discovered)
        # A worker without history takes other jobs, and none that others do better.
        assert await state_of(runner) == (1, "queued")
        stop.set()
        await worker
        assert await context.queue.has_work("history")
        assert (await read_state(context.store)).waiting == 1
        await runner.complete("funding")
        assert (await read_state(context.store)).waiting == 1
    async with open_runner(exchanges) as runner:
        result = await runner.complete("record")
        assert (result["entries"], len(result["gaps"])) == (1, 1)


async def test_two_hot_stores_do_not_share_one_record(
    exchanges: Simulator,
    open_runner: OpenRunner,
    own_valkey: Callable[[], OwnValkey],
    database_url: str,
) -> None:
    session = await asyncpg.connect(database_url, timeout=30)
    async with (
        open_runner(exchanges) as first,
        open_runner(exchanges, redis_url=own_valkey().url) as other,
    ):

        async def published_is_recorded(runner: JobRunner) -> bool:
            await runner.complete("funding")
            record = await runner.run("record")
            assert record.error is None or "the record of another hot store" in record.error
            return record.state == "complete"

        assert await published_is_recorded(first)
        assert not await published_is_recorded(other)
        assert (await read_state(other.context.store)).waiting == 1
        # A store that loses its data while a worker knows it, is the same.
        await first.context.store.execute("UNLINK", STORE_ID)
        assert await published_is_recorded(first)
        assert not await published_is_recorded(other)
        # One that is used no more gives way to the other, and is refused then.
        await session.execute("UPDATE history_stored SET stored_at = stored_at - 15 * 60000")
        assert not await published_is_recorded(other)
        await session.execute("UPDATE history_hot_store SET noted_at = noted_at - 15 * 60000")
        assert await published_is_recorded(other)
        assert (await read_state(other.context.store)).waiting == 0
        assert not await published_is_recorded(first)
        # What the error names goes on at once.
        await session.execute("DELETE FROM history_hot_store")
        assert await published_is_recorded(first)
    await session.close()


async def test_damage_is_told_by_the_daily_check(
    exchanges: Simulator,
    open_runner: OpenRunner,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("history.upkeep.CHECK_DAYS", 1)
    async with open_runner(exchanges) as runner:
        for job in ("discovery", "funding", "collect:4h"):
            await runner.complete(job)
        first = await runner.complete("record")
        assert first["checked"]["series"] > 4 and first["checked"]["faults"] == []
        assert "checked" not in await runner.complete("record")  # once a day
        session = await asyncpg.connect(database_url, timeout=30)
        await session.execute(
            "INSERT INTO history_revisions SELECT 1, 1, 1, 1, 1, 1, t, 7, 6, series_id"
            " FROM history_recent LIMIT 3"
        )
        await session.close()
        runner.context.recording.kept_ms = 0
        told = await runner.complete("record")
        assert len(told["checked"]["faults"]) == 3
        value = runner.context.metrics.registry.get_sample_value
        assert value("perpcache_history_faults_total") == 3


async def test_a_failed_compaction_is_not_tried_at_each_run(
    exchanges: Simulator, open_runner: OpenRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def fail(_: HistoryTables, before_known_ms: int) -> Any:
        tried.append(before_known_ms)
        raise DatabaseUnavailable("the database did not answer in time")

    monkeypatch.setattr(HistoryTables, "compact", fail)
    async with open_runner(exchanges) as runner:
        assert (await runner.run("record")).state == "failed"
        assert (await runner.run("record")).state == "complete"
        assert len(tried) == 1


async def state_of(runner: JobRunner) -> tuple[int, str] | None:
    record = await runner.context.queue.get("record")
    return None if record is None else (record.run, record.state)


async def test_a_worker_queues_it_at_start_and_after_publishes(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    async with open_runner(exchanges, fr_refresh_on_start=False) as runner:
        stop = asyncio.Event()
        loop = asyncio.create_task(queue_due_jobs(runner.context, stop))

        async def is_queued() -> bool:
            found = await state_of(runner)
            return found is not None and found[1] == "queued"

        await until(is_queued)
        await runner.complete("record")
        await runner.complete("discovery")
        assert await state_of(runner) != (2, "queued")
        await runner.complete("funding")  # it publishes
        await until(is_queued)
        stop.set()
        await loop


async def test_a_failure_is_followed_by_another_wish_after_a_pause(
    exchanges: Simulator, open_runner: OpenRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: HistoryPublishes) -> Any:
        raise DatabaseUnavailable("the database is away")

    clock = ManualClock()
    async with open_runner(exchanges) as runner:
        wish = RecordingWish(clock)
        runner.context = replace(runner.context, recording=wish)
        with monkeypatch.context() as patched:
            patched.setattr(HistoryPublishes, "cursors", fail)
            for passed_s in (5, 15, 35, 75, 135, 195):
                record = await runner.run("record")
                assert (record.state, record.error) == ("failed", "the database is away")
                wish.ask()  # publishes do not make it come sooner
                await asyncio.wait_for(wish.wait(), 20)
                assert clock.now == passed_s
        assert (await runner.run("record")).state == "complete"
        wish.ask()
        await asyncio.wait_for(wish.wait(), 20)
        assert clock.now == passed_s


async def test_a_wish_stays_until_it_is_forgotten() -> None:
    wish = RecordingWish()
    wish.ask()
    wish.ask()
    await asyncio.wait_for(wish.wait(), 20)
    wish.forget()
    waiting = asyncio.create_task(wish.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    wish.ask()
    await asyncio.wait_for(waiting, 20)


async def test_a_worker_of_the_release_before_does_not_take_it(
    exchanges: Simulator, open_runner: OpenRunner
) -> None:
    async with open_runner(exchanges) as runner:
        store, queue = runner.context.store, runner.context.queue
        await queue.request("record")
        take = store.script("take", TAKE)
        of_that_release = {"worker": ("collect:4h", "discovery", "fill"), "funding": ("funding",)}
        for lane, jobs in of_that_release.items():
            lease = await try_acquire(store, lane, holder="earlier:1", ttl_s=60)
            assert lease is not None
            keys = ["events", lease.key, *(f"job:{job}" for job in jobs)]
            answer = await take.run(keys, [lease.value, 1, 3, 60, 0], reply=anything)
            assert answer[:2] == [b"ok", 0]
            await lease.release()
        assert await state_of(runner) == (1, "queued")
        assert await queue.has_work("history")


def test_the_settings_of_the_history() -> None:
    settings = load_settings(history="OFF", journal_bytes="64MiB", journal_days=0)
    assert (settings.history, settings.journal_bytes) == ("off", 64 * 2**20)
    assert (load_settings().history, load_settings().journal_days) == ("on", 7)
    assert JOURNAL == "journal:history"
