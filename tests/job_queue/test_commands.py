"""The one command that each operation of the queue sends, word for word, and what it makes of the
reply."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from job_queue.kinds import JOB_IDS, Lane
from job_queue.queue import JobAborted, JobQueue
from job_queue.records import JobRecord, read_record
from stores.hot.leases import Lease, LeaseLost
from stores.hot.store import StoreUnavailable
from tests.fixtures.canned_store import CannedStore, held_lease

RECORD: Final = [b"state", b"active", b"run", b"3", b"seq", b"9"]
JOB: Final = read_record("collect:4h", RECORD)
WORKER_IDS: Final = [
    *(f"collect:{each}" for each in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")),
    "collect:all",
    "discovery",
    "fill",
]
LOOK_KEYS: Final = [
    "lock:worker",
    *(f"job:{job_id}" for job_id in WORKER_IDS),
    "lock:funding",
    "job:funding",
    "lock:history",
    "job:record",
    "job:compaction",
    "job:retention",
    "job:integrity",
    "lock:backfill",
    "job:backfill",
    "job:holes",
    "lock:providers",
    "job:providers",
    "job:providers_all",
]


@pytest.fixture
def store() -> CannedStore:
    return CannedStore()


@pytest.fixture
async def lease(store: CannedStore) -> AsyncIterator[Lease]:
    held = await held_lease(store)
    yield held
    store.replies = [1]
    await held.release()


def queue_of(store: CannedStore, **options: Any) -> JobQueue:
    return JobQueue(store, clock_ms=lambda: 1_234, **options)


def words(store: CannedStore) -> list[Any]:
    """The keys and arguments of the only command, which was sent with the deadline of one."""
    (sent,), (deadline_s,) = store.sent, store.deadlines_s
    assert sent[0] == "EVALSHA" and deadline_s == 2.0
    return list(sent[2:])


async def test_request(store: CannedStore) -> None:
    store.replies = [[5, RECORD]]
    record = await queue_of(store).request("collect:4h")
    assert words(store) == [
        3,
        "events",
        "job:collect:4h",
        "jobs:sequence",
        1_234,
        "queued",
        "collect:4h",
        "",
    ]
    assert (record.id, record.run, record.state) == ("collect:4h", 5, "active")


async def test_request_over_rest_publishes_nothing_and_wakes_this_host() -> None:
    store = CannedStore([1, RECORD], kind="upstash")
    woken: list[int] = []
    queue = queue_of(store, wake_local=lambda: woken.append(1))
    await queue.request("funding")
    assert words(store) == [3, "events", "job:funding", "jobs:sequence", 1_234, "", "funding", ""]
    assert woken == [1]
    async with asyncio.timeout(5):
        await queue.wait_for_work(600, "funding")
    assert await is_asleep(queue, "worker")


async def test_request_on_redis_wakes_by_the_channel_alone(store: CannedStore) -> None:
    store.replies = [[1, RECORD]]
    woken: list[int] = []
    queue = queue_of(store, wake_local=lambda: woken.append(1))
    await queue.request("funding")
    assert woken == [] and await is_asleep(queue, "funding")


@pytest.mark.parametrize(("rest_s", "rest_ms"), [(0.0, 0), (2.0, 2_000), (0.0015, 2)])
async def test_has_work_looks_at_all_lanes(store: CannedStore, rest_s: float, rest_ms: int) -> None:
    store.replies = [[0, -1, -1, -1, -1]]
    assert await queue_of(store, min_refresh_s=rest_s).has_work("worker") is True
    assert words(store) == [len(LOOK_KEYS), *LOOK_KEYS, rest_ms, 1 + len(WORKER_IDS), 2, 5, 3, 3]
    store.replies = [[-1, 0, -1, -1, -1]]
    assert await queue_of(store).has_work("worker") is False


async def test_beat_looks_at_all_lanes(store: CannedStore) -> None:
    store.replies = [[-1, -1, -1, -1, -1]]
    await queue_of(store, min_refresh_s=3).beat("host:1", "note")
    keys = ["workers", "workers:host:1", "workers:any", *LOOK_KEYS]
    assert words(store) == [
        *(len(keys), *keys, "host:1", "note", 30, 86_400, 3_000),
        *(1 + len(WORKER_IDS), 2, 5, 3, 3),
    ]


async def test_take(store: CannedStore, lease: Lease) -> None:
    store.replies = [[b"ok", 6, RECORD, -1], [b"ok", 0, [], -1], [b"ok", 1, RECORD, -1]]
    queue = queue_of(store, min_refresh_s=2)
    job = await queue.take(lease)
    keys = ["events", "lock:worker", *(f"job:{job_id}" for job_id in WORKER_IDS)]
    assert words(store) == [len(keys), *keys, lease.value, 1_234, 3, 604_800, 2_000]
    assert job is not None and (job.id, job.run) == ("collect:4h", 3)
    assert await queue.take(lease) is None
    store.sent.clear()
    store.deadlines_s.clear()
    job = await queue.take(lease, "discovery")
    assert words(store)[:4] == [3, "events", "lock:worker", "job:discovery"]
    assert job is not None and job.id == "discovery"


async def test_progress(store: CannedStore, lease: Lease) -> None:
    store.replies = [b"ok"]
    await queue_of(store).progress(JOB, lease, phase="fetch", done=4, total=9)
    assert words(store) == [2, "lock:worker", "job:collect:4h", lease.value, 3, "fetch", 4, 9]


@pytest.mark.parametrize(
    ("as_of", "result", "error", "sent"),
    [
        (7, {"rows": 1}, None, (7, b'{"rows":1}', "")),
        (None, None, "why", ("", "", "why")),
        (0, {}, "", (0, b"{}", "")),
    ],
)
async def test_finish(
    store: CannedStore,
    lease: Lease,
    as_of: int | None,
    result: dict[str, int] | None,
    error: str | None,
    sent: tuple[Any, Any, Any],
) -> None:
    store.replies = [b"ok"]
    queue = queue_of(store)
    ended, other = queue.next_run_end(), asyncio.Event()
    await queue.finish(JOB, lease, state="failed", as_of_ms=as_of, result=result, error=error)
    keys = ["events", "lock:worker", "job:collect:4h"]
    run = [lease.value, 3, "failed", sent[0], 1_234, sent[1], sent[2]]
    assert words(store) == [3, *keys, *run, 604_800, "queued", "collect:4h"]
    assert ended.is_set() and not other.is_set() and not queue.next_run_end().is_set()


async def test_an_end_that_was_refused_is_no_end(store: CannedStore, lease: Lease) -> None:
    store.replies = [b"aborted"]
    queue = queue_of(store)
    with pytest.raises(JobAborted, match="the run was aborted"):
        await queue.finish(JOB, lease, state="failed", as_of_ms=None, result=None, error=None)
    assert not queue.next_run_end().is_set()


async def test_hand_back(store: CannedStore, lease: Lease) -> None:
    store.replies = [b"ok"]
    await queue_of(store).hand_back(JOB, lease)
    keys = ["events", "lock:worker", "job:collect:4h"]
    assert words(store) == [3, *keys, lease.value, 3, "queued", "collect:4h"]


@pytest.mark.parametrize("name", ["take", "progress", "hand_back", "finish"])
async def test_a_lease_that_is_lost_there_or_here(
    store: CannedStore, lease: Lease, name: str
) -> None:
    queue = queue_of(store)
    calls: dict[str, Any] = {
        "take": lambda: queue.take(lease),
        "progress": lambda: queue.progress(JOB, lease, phase="fetch", done=1, total=2),
        "hand_back": lambda: queue.hand_back(JOB, lease),
        "finish": lambda: queue.finish(
            JOB, lease, state="failed", as_of_ms=None, result=None, error=None
        ),
    }
    store.replies = [[b"lost", 0, [], -1] if name == "take" else b"lost"]
    with pytest.raises(LeaseLost, match="another process holds the worker lease"):
        await calls[name]()
    assert len(store.sent) == 1
    store.replies = [1]
    await lease.release()
    store.sent.clear()
    with pytest.raises(LeaseLost, match="the worker lease has expired or was lost"):
        await calls[name]()
    assert store.sent == []  # without asking the store


async def test_abort_and_get(store: CannedStore) -> None:
    queue = queue_of(store)
    store.replies = [RECORD, [], [RECORD], [[]]]
    assert await queue.abort("collect:4h") == JOB
    assert words(store) == [2, "events", "job:collect:4h", 1_234, 604_800]
    assert await queue.abort("collect:4h") is None
    store.sent.clear()
    store.deadlines_s.clear()
    assert await queue.get("collect:4h") == JOB
    assert words(store) == [1, "job:collect:4h"]
    assert await queue.get("collect:4h") is None
    store.sent.clear()
    assert await queue.abort("nothing") is None and await queue.get("nothing") is None
    assert store.sent == []


async def test_the_list_is_ordered_by_the_sequence_and_leaves_out_what_cannot_be_read(
    store: CannedStore,
) -> None:
    def record(state: bytes, seq: bytes) -> list[bytes]:
        return [b"state", state, b"seq", seq]

    stored = {
        "collect:4h": record(b"queued", b"2"),
        "collect:5m": record(b"odd", b"5"),
        "funding": record(b"failed", b"10"),
        "discovery": record(b"active", b"x"),
    }
    store.replies = [[stored.get(job_id, []) for job_id in JOB_IDS]]
    listed = await queue_of(store).list()
    assert [job.id for job in listed] == ["funding", "collect:4h", "discovery"]
    assert words(store) == [len(JOB_IDS), *(f"job:{job_id}" for job_id in JOB_IDS)]


async def test_without_the_store_nothing_is_made_up(store: CannedStore, lease: Lease) -> None:
    queue = queue_of(store)
    for ask in (
        lambda: queue.request("funding"),
        lambda: queue.has_work("worker"),
        lambda: queue.take(lease),
        lambda: queue.get("funding"),
        lambda: queue.list(),
        lambda: queue.abort("funding"),
    ):
        store.replies = [StoreUnavailable("away")]
        with pytest.raises(StoreUnavailable, match=r"^away$"):
            await ask()


async def is_asleep(queue: JobQueue, lane: str) -> bool:
    """Whether a waiter of the lane goes on waiting."""
    waiting = asyncio.ensure_future(queue._wakeups[lane].wait())
    done, _ = await asyncio.wait([waiting], timeout=0)
    waiting.cancel()
    return not done


class Timers:
    """In place of the loop's timers: those that are set and not cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: list[tuple[float, Any, Any]] = []
        loop = asyncio.get_running_loop()
        really = loop.call_later

        def call_later(delay_s: float, callback: Any, *args: Any, **options: Any) -> Any:
            handle = really(delay_s, callback, *args, **options)
            if getattr(callback, "__qualname__", "") == "Event.set":
                self.set.append((delay_s, callback, handle))
            return handle

        monkeypatch.setattr(loop, "call_later", call_later)

    def pending(self) -> list[float]:
        return [delay_s for delay_s, _, handle in self.set if not handle.cancelled()]


async def test_lanes_are_woken_when_their_work_may_start(
    store: CannedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    queue = queue_of(store, min_refresh_s=600)
    store.replies = [
        *([0, 0, -1, -1, -1], [250_000, 1, -1, -1, -1], [40_000, -1, -1, -1, -1]),
        *([0, 0, 0, 0, 0], [-1, -1, -1, -1, -1]),
    ]
    assert await queue.has_work("worker") is True
    # The lane that asked learns it from the answer; the other one is woken.
    assert [await is_asleep(queue, lane) for lane in Lane] == [True, False, True, True, True]
    assert timers.pending() == []
    assert await queue.has_work("funding") is False
    assert timers.pending() == [250.0, 0.001]
    assert await queue.has_work("funding") is False
    assert timers.pending() == [40.0]  # in place of the earlier ones
    await queue.beat("host:1", "")
    assert timers.pending() == []
    assert [await is_asleep(queue, lane) for lane in Lane] == [False] * 5
    assert await queue.has_work("worker") is False
    assert [await is_asleep(queue, lane) for lane in Lane] == [True, False, False, False, False]
    store.replies = [[30_000, -1, -1, -1, -1]]
    await queue.has_work("worker")
    await queue.aclose()
    assert timers.pending() == []


async def test_a_taker_s_lane_is_woken_when_the_next_job_has_rested(
    store: CannedStore, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    queue = queue_of(store, min_refresh_s=600)
    queue.wake()
    store.replies = [[b"ok", 0, [], 90_000]]
    assert await queue.take(lease) is None
    assert timers.pending() == [90.0]
    assert [await is_asleep(queue, lane) for lane in Lane] == [True, False, False, False, False]
    await queue.aclose()


async def test_a_waiter_looks_again_so_long_after_the_last_look_of_any_lane(
    store: CannedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits = [1_000.0], list[float]()

    class Waited(Exception):
        pass

    def timeout(delay_s: float) -> Any:
        waits.append(delay_s)
        now[0] += delay_s
        return really(0)

    really = asyncio.timeout
    queue = queue_of(CannedStore([-1] * 5, [-1] * 5, kind="upstash"))
    monkeypatch.setattr("job_queue.queue.time.monotonic", lambda: now[0])
    monkeypatch.setattr("job_queue.queue.asyncio.timeout", timeout)
    await queue.wait_for_work(60)
    assert waits == [60.0]
    await queue.has_work("worker")
    now[0] += 10
    await queue.wait_for_work(60)
    assert waits == [60.0, 60.0]  # from its own beginning, if that is later
    await queue.beat("host:1", "")
    now[0] -= 5  # a look that came after this one began to wait
    await queue.wait_for_work(60)
    assert waits == [60.0, 60.0, 65.0]
    await queue.wait_for_work(0)
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("message", "woken"),
    [
        (b"collect:4h", [False, True]),
        (b"funding", [True, False]),
        (b"nothing", [True, True]),
        (b"\xff", [True, True]),
    ],
)
async def test_a_message_wakes_the_lane_of_its_job(
    store: CannedStore, message: bytes, woken: list[bool]
) -> None:
    queue = queue_of(store)
    queue._on_queued(message)
    assert [await is_asleep(queue, lane) for lane in ("worker", "funding")] == woken


def test_what_is_told_of_a_job() -> None:
    assert isinstance(JOB, JobRecord)
    assert (JOB.kind, str(JOB.timeframe), JOB.produces) == ("collect", "4h", ("4h", "8h"))
