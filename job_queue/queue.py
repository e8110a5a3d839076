"""The queue: one record per job in Redis; what may happen to it is decided in transitions.py.

What is queued is a wish ('the 4h document, no older than now'), so asking twice is asking once.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import orjson

from job_queue.kinds import IDS_BY_LANE, JOB_IDS, Lane, lane_of
from job_queue.records import JobRecord, fields_of, read_record
from job_queue.transitions import (
    ABORT,
    FINISH,
    HAND_BACK,
    HAS_WORK,
    LIST,
    PROGRESS,
    REQUEST,
    TAKE,
)
from stores.hot.leases import Lease, lock_key, retry_under_lease
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore, Word
from stores.hot.subscription import Subscription
from timing.clock import now_ms

MAX_ATTEMPTS: Final = 3  # attempts that ended with the death of their worker
KEPT_S: Final = 7 * 24 * 3600  # a finished record
_LOOK_KEYS: Final = tuple(
    key for lane, ids in IDS_BY_LANE.items() for key in (lock_key(lane), *(f"job:{i}" for i in ids))
)
_LOOK_COUNTS: Final = tuple(1 + len(ids) for ids in IDS_BY_LANE.values())
_CHANNEL: Final = "queued"
_SEQUENCE: Final = "jobs:sequence"


class JobAborted(Exception):
    """The run was aborted, or is no longer the record's: stop, and write nothing."""


class JobQueue:
    """Every method costs one command and raises StoreUnavailable when the store is away.

    Clocks only fill the record's times; order comes from a counter in the store, so hosts'
    clocks need not agree.
    """

    def __init__(
        self,
        store: HotStore,
        clock_ms: Callable[[], int] = now_ms,
        wake_local: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake_local` wakes the workers of this host, where the store has no way to tell them."""
        self._store = store
        self._clock_ms = clock_ms
        self._request = store.script(REQUEST)
        self._take = store.script(TAKE)
        self._progress = store.script(PROGRESS)
        self._finish = store.script(FINISH)
        self._hand_back = store.script(HAND_BACK)
        self._abort = store.script(ABORT)
        self._list = store.script(LIST)
        self._has_work = store.script(HAS_WORK)
        # Nobody can listen over REST, so nothing is published there.
        self._channel = _CHANNEL if store.kind == "native" else ""
        self._hints: dict[str, asyncio.Event] = {lane: asyncio.Event() for lane in Lane}
        self._ended = asyncio.Event()
        self._subscription: Subscription | None = None
        self._wake_local = wake_local
        self._looked_at = -math.inf

    async def request(self, job_id: str) -> JobRecord:
        """Queues the job, or joins the wish that stands. Raises ValueError for an unknown id."""
        lane_of(job_id)
        run, record = await self._request.run(
            [_key(job_id), _SEQUENCE], [self._clock_ms(), self._channel, job_id]
        )
        if not self._channel:
            self._hints[lane_of(job_id)].set()
            self._wake_local()
        return read_record(job_id, record, run=run)

    async def has_work(self, lane: str) -> bool:
        """Whether the lane's lease is free and something waits for it.

        The one command looks at all lanes, and those with work are woken.
        """
        self._hints[lane].clear()
        self._looked_at = time.monotonic()
        answers = await self._has_work.run(_LOOK_KEYS, _LOOK_COUNTS)
        found = {name for name, answer in zip(IDS_BY_LANE, answers, strict=True) if answer}
        for other in found - {lane}:
            self._hints[other].set()
        return lane in found

    async def take(self, lease: Lease, job_id: str | None = None) -> JobRecord | None:
        """The next job of the lease's lane, now active under this lease; None when there is none.

        First comes a job whose worker died, then the oldest queued one; only `job_id` if given.
        A job that is active under this very lease already (the reply to an earlier take was
        lost) is returned again, with no attempt counted. Raises LeaseLost.
        """
        lease.check()
        ids = IDS_BY_LANE[lease.name] if job_id is None else (job_id,)
        if job_id is not None and lane_of(job_id) != lease.name:
            raise ValueError(f"{job_id} does not run under the {lease.name} lease")
        self._hints[lease.name].clear()
        answer, index, record = await self._take.run(
            [lease.key, *map(_key, ids)],
            [lease.value, self._clock_ms(), MAX_ATTEMPTS, KEPT_S],
        )
        _raise_unless_held(answer, lease)
        return read_record(ids[index - 1], record) if index else None

    async def progress(
        self, job: JobRecord, lease: Lease, *, phase: str, done: int, total: int
    ) -> None:
        """Writes where the run is. Raises LeaseLost, or JobAborted when it must stop."""
        lease.check()
        answer = await self._progress.run(
            [lease.key, _key(job.id)], [lease.value, job.run, phase, done, total]
        )
        _raise_unless_held(answer, lease)

    async def finish(
        self,
        job: JobRecord,
        lease: Lease,
        *,
        state: Literal["complete", "failed"],
        as_of_ms: int | None,
        result: Mapping[str, Any] | None,
        error: str | None,
    ) -> None:
        """Ends the run; a rerun that was wanted is queued by the same step.

        While the store is away it is tried again for as long as the lease is ours: the work is
        done, and ending a run twice is ending it once. Raises LeaseLost, JobAborted,
        StoreRefused.
        """
        args: tuple[Word, ...] = (
            lease.value,
            job.run,
            state,
            _or_empty(as_of_ms),
            self._clock_ms(),
            "" if result is None else orjson.dumps(dict(result)),
            error or "",
            KEPT_S,
            self._channel,
            job.id,
        )
        answer = await retry_under_lease(
            lease, lambda: self._finish.run([lease.key, _key(job.id)], args)
        )
        _raise_unless_held(answer, lease)
        self._ended.set()
        self._ended = asyncio.Event()

    async def hand_back(self, job: JobRecord, lease: Lease) -> None:
        """Puts the run back into the queue, at its old place; the attempt does not count.

        Raises LeaseLost, JobAborted.
        """
        lease.check()
        answer = await self._hand_back.run(
            [lease.key, _key(job.id)], [lease.value, job.run, self._channel, job.id]
        )
        _raise_unless_held(answer, lease)

    async def abort(self, job_id: str) -> JobRecord | None:
        """Ends a queued or active run, and a rerun that was wanted; a finished one stays as it is.

        The worker learns of it by its next progress or finish. None: no such job is known.
        """
        if job_id not in JOB_IDS:
            return None
        record = await self._abort.run([_key(job_id)], [self._clock_ms(), KEPT_S])
        return read_record(job_id, record) if record else None

    async def get(self, job_id: str) -> JobRecord | None:
        """The job's record, or None when nobody has asked for it within a week."""
        if job_id not in JOB_IDS:
            return None
        record = await self._store.execute("HGETALL", _key(job_id))
        return read_record(job_id, record) if record else None

    async def list(self) -> "list[JobRecord]":
        """All records, those queued last first."""
        records = await self._list.run([_key(job_id) for job_id in JOB_IDS])
        known = [
            (int(fields_of(record)[b"seq"]), read_record(job_id, record))
            for job_id, record in zip(JOB_IDS, records, strict=True)
            if record
        ]
        return [record for _, record in sorted(known, key=lambda pair: pair[0], reverse=True)]

    async def wait_for_work(self, timeout_s: float, lane: str = Lane.WORKER) -> None:
        """Returns when something may have been queued in the lane, at the latest when nobody has
        looked for `timeout_s`. A hint only: look with `has_work` or `take`, which also reset it.
        """
        if self._subscription is None and isinstance(self._store, NativeStore):
            self._subscription = Subscription(
                self._store, _CHANNEL, on_message=self._heard, on_connected=self.wake
            )
            self._subscription.start()
        entered = time.monotonic()
        while (left_s := max(entered, self._looked_at) + timeout_s - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._hints[lane].wait()
                return
            except TimeoutError:
                pass  # another lane may have looked for all meanwhile

    def wake(self) -> None:
        """Ends every `wait_for_work` of this process: something may have been queued."""
        for hint in self._hints.values():
            hint.set()

    def next_end(self) -> asyncio.Event:
        """Set when a run ends next in this process: a hint for who waits for one, and also looks
        by itself for what other processes end. Ask for it before looking."""
        return self._ended

    async def aclose(self) -> None:
        """Stops listening; the store stays open."""
        if self._subscription is not None:
            await self._subscription.aclose()

    def _heard(self, message: bytes) -> None:
        job_id = message.decode(errors="replace")
        if job_id in JOB_IDS:
            self._hints[lane_of(job_id)].set()


def _raise_unless_held(answer: bytes, lease: Lease) -> None:
    lease.raise_if_lost(answer)
    if answer == b"aborted":
        raise JobAborted("the run was aborted")


def _key(job_id: str) -> str:
    return f"job:{job_id}"


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number
