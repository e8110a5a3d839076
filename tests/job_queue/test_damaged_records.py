"""Values at the queue's keys that others wrote: skipped, and replaced by the next request."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from structlog.testing import capture_logs

from job_queue.kinds import JOB_IDS
from job_queue.queue import JobQueue
from job_queue.records import read_record
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore
from tests.fixtures.job_queue import Acquire, complete

KEY: Final = "job:funding"
FOREIGN: Final = {
    "string": ("SET", KEY, "mine"),
    "list": ("RPUSH", KEY, "a", "b"),
    "set": ("SADD", KEY, "a"),
    "sorted set": ("ZADD", KEY, 1, "a"),
    "hash of others": ("HSET", KEY, "name", "mine"),
    "empty state": ("HSET", KEY, "state", "", "run", "7"),
    "unknown state": ("HSET", KEY, "state", "paused", "run", "7", "seq", "1"),
}
FIELDS: Final = (
    *("run", "seq", "enqueued_at", "started_at", "finished_at", "attempts", "phase", "done"),
    *("total", "error", "result", "lease", "coalesced", "rerun_seq", "rerun_at", "last_run"),
    *("rest_from", "failures"),
    *("last_state", "last_as_of", "last_finished_at", "last_result", "last_error", "last_lease"),
)
JUNK: Final[tuple[str | bytes, ...]] = (
    *("abc", "-1", "-0", "1.5", "1e30", "9" * 30, "100000000000000", "nan", "inf", "0x10", " 7"),
    *("[1]", '{"a":' * 300, '{"a":1', b"\xff\xfe", "ä" * 5_000),
)


async def runs_well(queue: JobQueue, acquire: Acquire) -> int:
    """Requests the funding job and runs it to its end; returns the number of the run."""
    asked = await queue.request("funding")
    lease = await acquire("funding")
    job = await queue.take(lease)
    assert job is not None and job.id == "funding"
    await queue.progress(job, lease, phase="fetch", done=1, total=2)
    await complete(queue, job, lease)
    record = await queue.get("funding")
    assert record is not None and record.last is not None
    if record.state == "queued":  # a rerun was noted
        return await runs_well(queue, acquire)
    assert (record.state, record.last.state, record.last.result) == (
        *("complete", "complete"),
        {"rows": 3},
    )
    assert record.last.run == record.run == max(job.run, asked.run)
    return record.run


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_foreign_record_is_skipped_and_replaced_by_a_request(
    kind: str, queue: JobQueue, store: HotStore, acquire: Acquire
) -> None:
    await queue.request("collect:4h")
    await store.execute(*FOREIGN[kind])
    assert [job.id for job in await queue.list()] == ["collect:4h"]
    assert await queue.get("funding") is None
    assert await queue.abort("funding") is None
    assert not await queue.has_work("funding") and await queue.has_work("worker")
    lease = await acquire("funding")
    assert await queue.take(lease) is None
    asked = await queue.request("funding")
    assert asked.state == "queued" and asked.last is None
    assert {job.id for job in await queue.list()} == {"collect:4h", "funding"}
    assert await runs_well(queue, acquire) == asked.run


async def test_an_unreadable_record_is_logged_once_a_minute(
    queue: JobQueue, store: HotStore
) -> None:
    await store.execute(*FOREIGN["unknown state"])
    with capture_logs() as logs:
        for _ in range(50):
            await queue.list()
    assert len([line for line in logs if line["event"] == "job_record_unreadable"]) <= 1


async def queued(queue: JobQueue, _: Acquire) -> None:
    await queue.request("funding")


async def active(queue: JobQueue, acquire: Acquire) -> None:
    await queue.request("funding")
    assert await queue.take(await acquire("funding")) is not None


async def rerun(queue: JobQueue, acquire: Acquire) -> None:
    await active(queue, acquire)
    await queue.request("funding")


async def ended(queue: JobQueue, acquire: Acquire) -> None:
    await runs_well(queue, acquire)


@pytest.mark.parametrize("prepare", [queued, active, rerun, ended])
async def test_a_record_with_one_bad_field_still_runs(
    prepare: Callable[[JobQueue, Acquire], Awaitable[None]], store: HotStore, acquire: Acquire
) -> None:
    queue = JobQueue(store)
    for number, field in enumerate(FIELDS if isinstance(store, NativeStore) else FIELDS[::7]):
        for junk in (*JUNK[number % 4 :: 4], None):
            if isinstance(junk, bytes) and not isinstance(store, NativeStore):
                continue  # REST carries text
            await store.execute("DEL", KEY)
            await prepare(queue, acquire)
            if junk is None:
                await store.execute("HDEL", KEY, field)
            else:
                await store.execute("HSET", KEY, field, junk)
            (record,) = await queue.list()
            assert record.state in ("queued", "active", "complete"), (field, junk)
            assert 0 <= record.run < 10**15 and len(record.error or "") <= 2_000
            assert await runs_well(queue, acquire) >= 1, (field, junk)


@pytest.mark.parametrize("field", ["error", "result", "last_error", "last_result", "note"])
async def test_fields_of_megabytes_are_not_read(
    field: str, queue: JobQueue, store: HotStore, acquire: Acquire
) -> None:
    await ended(queue, acquire)
    await store.execute("HSET", KEY, field, '{"a": "' + "x" * 9_000_000 + '"}')
    (record,) = await queue.list()
    assert len(str(record)) < 1_000
    assert await runs_well(queue, acquire) == 2


@pytest.mark.parametrize("counter", ["abc", "9223372036854775807", "100000000000000", "-5", None])
async def test_a_sequence_that_cannot_be_counted_up_starts_again(
    counter: str | None, queue: JobQueue, store: HotStore, acquire: Acquire
) -> None:
    if counter is None:
        await store.execute("RPUSH", "jobs:sequence", "a")
    else:
        await store.execute("SET", "jobs:sequence", counter)
    await queue.request("collect:4h")
    await queue.request("collect:1h")
    lease = await acquire("worker")
    taken = []
    while job := await queue.take(lease):
        taken.append(job.id)
        await complete(queue, job, lease)
    assert taken == ["collect:4h", "collect:1h"]
    assert await store.execute("GET", "jobs:sequence") == b"2"


@pytest.mark.parametrize("run", ["abc", ""])
async def test_a_run_whose_number_was_overwritten_is_not_repeated_without_end(
    run: str, queue: JobQueue, store: HotStore, acquire: Acquire
) -> None:
    """Such a run is aborted at its next report; under the same lease it is then taken again."""
    await queue.request("funding")
    lease = await acquire("funding")
    assert await queue.take(lease) is not None
    await store.execute("HSET", KEY, "run", run)
    again = await queue.take(lease)
    assert again is not None
    await complete(queue, again, lease)
    assert await queue.take(lease) is None


@pytest.mark.parametrize("expiry", ["none", "a year"])
async def test_a_lock_that_does_not_expire_is_no_lease(
    expiry: str, queue: JobQueue, store: HotStore
) -> None:
    await queue.request("funding")
    await store.execute("SET", "lock:funding", "theirs")
    if expiry == "a year":
        await store.execute("EXPIRE", "lock:funding", 31_536_000)
    assert await queue.has_work("funding")
    await store.execute("PEXPIRE", "lock:funding", 300_000)
    assert not await queue.has_work("funding")


def test_numbers_and_results_of_a_record_are_bounded() -> None:
    def read(**fields: bytes) -> object:
        flat = [word for pair in fields.items() for word in (pair[0].encode(), pair[1])]
        return read_record(JOB_IDS[0], [b"state", b"failed", *flat])

    for junk in (b"1" * 16, b"-3", b"1.0", b"x", "٣".encode()):
        assert read(finished_at=junk).finished_at is None  # type: ignore[attr-defined]
    assert read(finished_at=b"1" * 15).finished_at == 111_111_111_111_111  # type: ignore[attr-defined]
    for junk in (b"[]", b"7", b'{"a":' * 65 + b"1" + b"}" * 65, b'{"a": 1'):
        assert read(result=junk).result is None  # type: ignore[attr-defined]
    assert read(result=b'{"a": {"b": [1]}}').result == {"a": {"b": [1]}}  # type: ignore[attr-defined]
