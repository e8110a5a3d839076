"""Records that the release before wrote are read and moved, and written as it reads them."""

from job_queue.queue import JobQueue
from job_queue.records import LastRun
from stores.hot.leases import try_acquire
from stores.hot.store import HotStore
from tests.fixtures.job_queue import complete

# As commit 3a4c9e5 leaves them in the store; its worker was killed during the second run.
ACTIVE = {
    "state": "active",
    "run": "7",
    "seq": "41",
    "enqueued_at": "1795185441000",
    "started_at": "1795185441250",
    "finished_at": "",
    "attempts": "1",
    "phase": "fetch",
    "done": "120",
    "total": "1900",
    "error": "",
    "result": "",
    "lease": "3 a1b2c3d4e5f6 host:4711",
    "coalesced": "1",
    "rerun_seq": "42",
    "rerun_at": "1795185450000",
    "last_run": "6",
    "last_state": "complete",
    "last_as_of": "1795170000000",
    "last_finished_at": "1795170021000",
    "last_result": '{"markets":950,"rows":474050}',
    "last_error": "",
    "last_lease": "2 ffeeddccbbaa host:4710",
}
FAILED = {
    **ACTIVE,
    "state": "failed",
    "run": "3",
    "seq": "12",
    "finished_at": "1795185460000",
    "phase": "done",
    "error": "binance: connection refused",
    "lease": "",
    "coalesced": "",
    "rerun_seq": "",
    "rerun_at": "",
    "last_run": "3",
    "last_state": "failed",
    "last_as_of": "",
    "last_finished_at": "1795185460000",
    "last_result": "",
    "last_error": "binance: connection refused",
}
QUEUED = {
    name: text
    for name, text in ACTIVE.items()
    if not name.startswith("last_")  # it never ran
} | {
    "state": "queued",
    "run": "1",
    "seq": "40",
    "started_at": "",
    "attempts": "0",
    "phase": "queued",
    "done": "0",
    "total": "0",
    "lease": "",
    "coalesced": "",
    "rerun_seq": "",
    "rerun_at": "",
}


async def written(store: HotStore, job_id: str, record: dict[str, str]) -> None:
    flat = [word for pair in record.items() for word in pair]
    await store.execute("HSET", f"job:{job_id}", *flat)


async def stored(store: HotStore, job_id: str) -> dict[str, str]:
    flat = [word.decode() for word in await store.execute("HGETALL", f"job:{job_id}")]
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def test_records_are_read(store: HotStore, queue: JobQueue) -> None:
    await written(store, "collect:4h", ACTIVE)
    await written(store, "funding", FAILED)
    await written(store, "collect:1h", QUEUED)
    active, queued, failed = await queue.list()
    assert (active.id, active.kind, active.timeframe) == ("collect:4h", "collect", "4h")
    assert (active.state, active.run, active.attempts) == ("active", 7, 1)
    assert (active.phase, active.done, active.total) == ("fetch", 120, 1900)
    assert (active.coalesced, active.rerun) == (True, True)
    assert (active.enqueued_at, active.started_at) == (1_795_185_441_000, 1_795_185_441_250)
    assert active.last == LastRun(
        run=6,
        state="complete",
        as_of_ms=1_795_170_000_000,
        finished_at_ms=1_795_170_021_000,
        result={"markets": 950, "rows": 474_050},
        error=None,
    )
    assert (failed.state, failed.error) == ("failed", "binance: connection refused")
    last = failed.last
    assert last is not None
    assert (last.state, last.as_of_ms, last.result) == ("failed", None, None)
    assert last.error == "binance: connection refused"
    assert (queued.id, queued.state, queued.last) == ("collect:1h", "queued", None)
    assert (queued.coalesced, queued.rerun, queued.started_at) == (False, False, None)


async def test_records_go_on_as_the_earlier_release_would_move_them(
    store: HotStore, queue: JobQueue
) -> None:
    await written(store, "collect:4h", ACTIVE)
    await written(store, "collect:1h", QUEUED)
    await store.execute("SET", "jobs:sequence", "42")
    await store.execute("SET", "lock:worker:token", "3")
    lease = await try_acquire(store, "worker", holder="host:1", ttl_s=30)
    assert lease is not None and lease.token == 4
    # First the job of the worker that died; it answers the rerun that was wanted too.
    job = await queue.take(lease)
    assert job is not None
    assert (job.id, job.run, job.attempts) == ("collect:4h", 8, 2)
    await complete(queue, job, lease, as_of_ms=1_795_185_470_000)
    after = await stored(store, "collect:4h")
    # Field by field what that release's scripts write, so that it can go on from here; and two
    # fields that it does not read.
    assert set(after) == {*ACTIVE, "rest_from", "failures"}
    assert after == ACTIVE | {
        "rest_from": after["rest_from"],
        "failures": "0",
        "state": "complete",
        "run": "8",
        "started_at": after["started_at"],
        "finished_at": after["finished_at"],
        "attempts": "2",
        "phase": "done",
        "done": "0",
        "total": "0",
        "result": '{"rows":3}',
        "lease": "",
        "rerun_seq": "",
        "rerun_at": "",
        "last_run": "8",
        "last_state": "complete",
        "last_as_of": "1795185470000",
        "last_finished_at": after["finished_at"],
        "last_result": '{"rows":3}',
        "last_lease": lease.value,
    }
    queued = await queue.take(lease)
    assert queued is not None and (queued.id, queued.run) == ("collect:1h", 1)
    await queue.hand_back(queued, lease)
    assert (await stored(store, "collect:1h")) == QUEUED
    # The next request is numbered on.
    await queue.request("funding")
    assert (await stored(store, "funding"))["seq"] == "43"
    await lease.release()
