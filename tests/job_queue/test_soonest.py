"""When a lane's next job may start: the numbers that the scripts look and take answer with."""

from typing import Any

import pytest

from job_queue.transitions import HAS_WORK, TAKE
from stores.hot.event_log import LOG
from stores.hot.leases import LONGEST_LEASE_MS
from stores.hot.replies import anything
from stores.hot.store import HotStore, Word

REST_S = 10_000
TOLERANCE_S = 300  # a busy machine between two commands
KEYS = ("lock:a", "job:1", "job:2", "lock:b", "job:3")


async def write(store: HotStore, job: str, state: str, *, ended_s_ago: int, seq: int = 1) -> None:
    seconds, _ = await store.execute("TIME")
    rest_from = (int(seconds) - ended_s_ago) * 1000
    fields: dict[str, Word] = {
        "state": state,
        "rest_from": rest_from,
        "seq": seq,
        "run": 1,
        "lease": "another",
    }
    await store.execute("HSET", job, *(word for pair in fields.items() for word in pair))


async def look(store: HotStore) -> tuple[int, int]:
    """The answers for the lanes a (two jobs) and b (one job), in s."""
    a, b = await store.script("has_work", HAS_WORK).run(KEYS, (REST_S * 1000, 3, 2), reply=anything)
    return _seconds(a), _seconds(b)


def _seconds(answer_ms: int) -> int:
    return answer_ms if answer_ms <= 0 else answer_ms // 1000


def nearly(seconds: int) -> Any:
    return pytest.approx(seconds - TOLERANCE_S / 2, abs=TOLERANCE_S / 2 + 1)


async def test_a_lane_without_pending_jobs(store: HotStore) -> None:
    assert await look(store) == (-1, -1)
    for state in ("complete", "failed", "aborted"):
        await write(store, "job:1", state, ended_s_ago=0)
        assert await look(store) == (-1, -1)
    await store.execute("SET", "lock:a", "held", "PX", 5_000_000)
    assert await look(store) == (-1, -1)


async def test_each_lane_has_its_own_jobs(store: HotStore) -> None:
    await write(store, "job:2", "queued", ended_s_ago=REST_S)
    assert await look(store) == (0, -1)
    await write(store, "job:3", "active", ended_s_ago=0)  # it began, so it needs no rest
    assert await look(store) == (0, 0)
    await store.execute("DEL", "job:2")
    assert await look(store) == (-1, 0)


async def test_the_job_that_has_rested_longest_counts(store: HotStore) -> None:
    await write(store, "job:1", "queued", ended_s_ago=1_000)
    assert await look(store) == (nearly(9_000), -1)
    await write(store, "job:2", "queued", ended_s_ago=4_000)
    assert await look(store) == (nearly(6_000), -1)
    await write(store, "job:1", "queued", ended_s_ago=7_000)
    assert await look(store) == (nearly(3_000), -1)
    await write(store, "job:2", "active", ended_s_ago=0)
    assert await look(store) == (0, -1)


async def test_a_held_lease_counts_if_it_ends_later(store: HotStore) -> None:
    await write(store, "job:1", "queued", ended_s_ago=REST_S - 100 - TOLERANCE_S)
    await store.execute("SET", "lock:a", "held", "PX", 200_000)
    await store.execute("SET", "lock:b", "held", "PX", 200_000)
    assert await look(store) == (nearly(100 + TOLERANCE_S), -1)
    await write(store, "job:1", "queued", ended_s_ago=REST_S)
    assert await look(store) == (nearly(200), -1)
    for longest_ms, waits in ((LONGEST_LEASE_MS, True), (LONGEST_LEASE_MS + 600_000, False)):
        await store.execute("SET", "lock:a", "held", "PX", longest_ms)
        assert ((await look(store))[0] > 0) is waits
    await store.execute("SET", "lock:a", "of nobody")
    assert await look(store) == (0, -1)


async def take(store: HotStore) -> tuple[int, int]:
    """The number of the taken job, and the s until the next one may start."""
    answer, index, _, soonest = await store.script("take", TAKE).run(
        [LOG, *KEYS[:3]], ("ours", 5, 3, 1000, REST_S * 1000), reply=anything
    )
    assert answer == b"ok"
    return index, _seconds(soonest)


async def test_a_taker_is_told_when_the_next_one_may_start(store: HotStore) -> None:
    await store.execute("SET", "lock:a", "ours")
    assert await take(store) == (0, -1)
    await write(store, "job:1", "queued", ended_s_ago=1_000, seq=1)
    assert await take(store) == (0, nearly(9_000))
    await write(store, "job:2", "queued", ended_s_ago=4_000, seq=2)
    assert await take(store) == (0, nearly(6_000))
    await write(store, "job:1", "queued", ended_s_ago=7_000, seq=1)
    assert await take(store) == (0, nearly(3_000))
    await write(store, "job:2", "queued", ended_s_ago=REST_S, seq=2)
    assert await take(store) == (2, nearly(3_000))
    # It is ours now, and is told again; nothing else is looked at.
    assert await take(store) == (2, -1)
    await write(store, "job:2", "complete", ended_s_ago=5_000)
    assert await take(store) == (0, nearly(3_000))


async def test_the_job_of_a_dead_worker_needs_no_rest(store: HotStore) -> None:
    await store.execute("SET", "lock:a", "ours")
    await write(store, "job:1", "queued", ended_s_ago=REST_S, seq=1)
    await write(store, "job:2", "active", ended_s_ago=0, seq=2)
    assert await take(store) == (2, -1)
