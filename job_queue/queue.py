"""The job queue's operations: request, take, progress, finish, hand back, abort, list and wait.

Each job has one record in Redis, which the scripts of transitions.py change. A request means 'the
4h document, no older than now': the script REQUEST in transitions.py decides whether a POST queues
the job, joins a run that is still queued, or notes a rerun.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import orjson
import structlog

from job_queue.kinds import IDS_BY_LANE, JOB_IDS, Lane, lane_of
from job_queue.records import JobRecord, UnreadableRecord, read_record, sequence_of
from job_queue.transitions import (
    ABORT,
    FINISH,
    HAND_BACK,
    HAS_WORK,
    LIST,
    LOOK,
    PROGRESS,
    REQUEST,
    TAKE,
)
from logging_setup import ThrottledLog
from stores.hot.beats import AfterBeat, beat
from stores.hot.event_log import LOG
from stores.hot.leases import LONGEST_LEASE_MS, Lease, lock_key, retry_under_lease
from stores.hot.read import Read, read
from stores.hot.redis_client import NativeStore
from stores.hot.replies import elements, list_of, named_texts, one_of, whole_number
from stores.hot.store import HotStore, Word
from stores.hot.subscription import Subscription
from timing.clock import now_ms

MAX_ATTEMPTS: Final = 3  # after so many attempts in which the worker died, the job fails
RECORD_TTL_S: Final = 7 * 24 * 3600  # for a finished record
_LOOK_KEYS: Final = tuple(
    key for lane, ids in IDS_BY_LANE.items() for key in (lock_key(lane), *(f"job:{i}" for i in ids))
)
_KEYS_PER_LANE: Final = tuple(1 + len(ids) for ids in IDS_BY_LANE.values())
_LOOK_AFTER_BEAT: Final = LOOK + "return look(4, 5)"
_CHANNEL: Final = "queued"
_SEQUENCE: Final = "jobs:sequence"
_ANSWER: Final = one_of(b"ok", b"lost", b"aborted")
_REQUESTED: Final = elements(whole_number(1), named_texts)
_log = ThrottledLog(structlog.get_logger(__name__))


class JobAborted(Exception):
    """The run was aborted, or another one has replaced it: stop, and write nothing."""


class JobQueue:
    """Each method sends one command and raises StoreUnavailable if the store is away.

    Order comes from a counter in the store. Clocks only fill the record's times, so the clocks of
    several hosts need not agree.
    """

    def __init__(
        self,
        store: HotStore,
        clock_ms: Callable[[], int] = now_ms,
        wake_local: Callable[[], None] = lambda: None,
        min_refresh_s: float = 0.0,
    ) -> None:
        """`wake_local` wakes this host's workers if the store has no subscriptions (Upstash).
        A job that ended rests for `min_refresh_s` before this process takes it again."""
        self._store = store
        self._clock_ms = clock_ms
        self._request = store.script("request", REQUEST)
        self._take = store.script("take", TAKE)
        self._progress = store.script("progress", PROGRESS)
        self._finish = store.script("finish", FINISH)
        self._hand_back = store.script("hand_back", HAND_BACK)
        self._abort = store.script("abort", ABORT)
        self._list = store.script("list", LIST)
        self._has_work = store.script("has_work", HAS_WORK)
        # REST has no subscriptions, so nothing is published there.
        self._channel = store.channel(_CHANNEL) if store.kind == "native" else ""
        self._wakeups: dict[str, asyncio.Event] = {lane: asyncio.Event() for lane in Lane}
        self._run_ended = asyncio.Event()
        self._subscription: Subscription | None = None
        self._wake_local = wake_local
        self._rest_ms = round(min_refresh_s * 1000)
        longest_ms = max(self._rest_ms, LONGEST_LEASE_MS)
        self._waits = list_of(whole_number(-1, longest_ms), len(IDS_BY_LANE))
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._checked_at = -math.inf

    async def request(self, job_id: str, *, asked_by: int | None = None) -> JobRecord:
        """Queues the job, or joins a pending request. `asked_by`: the id of the worker's run that
        asks. Raises ValueError for an unknown id."""
        lane_of(job_id)
        run, record = await self._request.run(
            [LOG, _key(job_id), _SEQUENCE],
            [self._clock_ms(), self._channel, job_id, _or_empty(asked_by)],
            reply=_REQUESTED,
        )
        if not self._channel:
            self._wakeups[lane_of(job_id)].set()
            self._wake_local()
        return read_record(job_id, record, run=run)

    async def has_work(self, lane: str) -> bool:
        """Whether the lane's lease is free and one of its jobs may start.

        The command checks all lanes, and wakes the other lanes that have work. A lane whose jobs
        may start later is woken then.
        """
        self._wakeups[lane].clear()
        self._checked_at = time.monotonic()
        answers = await self._has_work.run(
            _LOOK_KEYS, (self._rest_ms, *_KEYS_PER_LANE), reply=self._waits
        )
        return lane in self._wake_lanes(answers, but=lane)

    async def waiting(self, lane: str, *, but: str) -> "list[str]":
        """The queued jobs of the lane other than `but`, for a run that gives way to them.

        Resets the lane's wakeup, so that `wait_for_work` waits for the next one.
        """
        self._wakeups[lane].clear()
        ids = [job_id for job_id in IDS_BY_LANE[lane] if job_id != but]
        records = await self._list.run(
            [_key(job_id) for job_id in ids], reply=list_of(named_texts, len(ids))
        )
        found = map(_readable, ids, records)
        return [job.id for job in found if job is not None and job.state == "queued"]

    async def beat(self, worker_id: str, note: str) -> None:
        """Sends the worker's heartbeat, and wakes the lanes that have work, in one command."""
        self._checked_at = time.monotonic()
        look = AfterBeat(
            _LOOK_AFTER_BEAT, self._waits, _LOOK_KEYS, (self._rest_ms, *_KEYS_PER_LANE)
        )
        self._wake_lanes(await beat(self._store, worker_id, note, look))

    def _wake_lanes(self, answers: Sequence[int], but: str = "") -> set[str]:
        """Wakes the lanes with work, now or when it may start; returns those that have it now."""
        found = set()
        for lane, wait_ms in zip(IDS_BY_LANE, answers, strict=True):
            if wait_ms == 0:
                found.add(lane)
                if lane != but:
                    self._wakeups[lane].set()
            self._wake_after(lane, wait_ms)
        return found

    def _wake_after(self, lane: str, wait_ms: int) -> None:
        """Wakes the lane after `wait_ms`, in place of an earlier such call; never if it is < 1."""
        if (timer := self._timers.pop(lane, None)) is not None:
            timer.cancel()
        if wait_ms > 0:
            loop = asyncio.get_running_loop()
            self._timers[lane] = loop.call_later(wait_ms / 1000, self._wakeups[lane].set)

    async def take(self, lease: Lease, job_id: str | None = None) -> JobRecord | None:
        """Makes the next job of the lease's lane active and returns it; None if there is none.

        A job whose worker died comes first, then the oldest queued one; only `job_id` if given.
        Jobs that ended less than `min_refresh_s` ago are left for later; the lane is woken then.
        A job that is already active under this lease (the reply to an earlier take was lost) is
        returned again without counting an attempt. Raises LeaseLost.
        """
        lease.check()
        ids = IDS_BY_LANE[lease.name] if job_id is None else (job_id,)
        if job_id is not None and lane_of(job_id) != lease.name:
            raise ValueError(f"{job_id} does not run under the {lease.name} lease")
        self._wakeups[lease.name].clear()
        answer, index, record, wait_ms = await self._take.run(
            [LOG, lease.key, *map(_key, ids)],
            [lease.value, self._clock_ms(), MAX_ATTEMPTS, RECORD_TTL_S, self._rest_ms],
            reply=elements(
                one_of(b"ok", b"lost"),
                whole_number(0, len(ids)),
                named_texts,
                whole_number(-1, self._rest_ms),
            ),
        )
        _raise_unless_held(answer, lease)
        self._wake_after(lease.name, wait_ms)
        return read_record(ids[index - 1], record) if index else None

    async def progress(
        self, job: JobRecord, lease: Lease, *, phase: str, done: int, total: int
    ) -> None:
        """Stores the run's progress. Raises LeaseLost, or JobAborted if the run must stop."""
        lease.check()
        answer = await self._progress.run(
            [lease.key, _key(job.id)],
            [lease.value, job.run, phase, done, total],
            reply=_ANSWER,
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
        """Ends the run, and queues a requested rerun in the same step.

        The command is idempotent, so it is retried while the store is away, until the lease is
        lost. Raises LeaseLost, JobAborted, StoreRefused.
        """
        args: tuple[Word, ...] = (
            lease.value,
            job.run,
            state,
            _or_empty(as_of_ms),
            self._clock_ms(),
            "" if result is None else orjson.dumps(dict(result)),
            error or "",
            RECORD_TTL_S,
            self._channel,
            job.id,
        )
        answer = await retry_under_lease(
            lease, lambda: self._finish.run([LOG, lease.key, _key(job.id)], args, reply=_ANSWER)
        )
        _raise_unless_held(answer, lease)
        self._run_ended.set()
        self._run_ended = asyncio.Event()

    async def hand_back(self, job: JobRecord, lease: Lease) -> None:
        """Puts the run back at its old place in the queue; the attempt does not count.

        Raises LeaseLost, JobAborted.
        """
        lease.check()
        answer = await self._hand_back.run(
            [LOG, lease.key, _key(job.id)],
            [lease.value, job.run, self._channel, job.id],
            reply=_ANSWER,
        )
        _raise_unless_held(answer, lease)

    async def abort(self, job_id: str) -> JobRecord | None:
        """Ends a queued or active run and a requested rerun; a finished run stays unchanged.

        The worker notices at its next `progress` or `finish`. Returns None for an unknown job.
        """
        if job_id not in JOB_IDS:
            return None
        record = await self._abort.run(
            [LOG, _key(job_id)], [self._clock_ms(), RECORD_TTL_S], reply=named_texts
        )
        return _readable(job_id, record)

    async def get(self, job_id: str) -> JobRecord | None:
        """The job's record; None if it was never requested, has expired (RECORD_TTL_S), or cannot
        be read."""
        if job_id not in JOB_IDS:
            return None
        (record,) = await self._list.run([_key(job_id)], reply=list_of(named_texts, 1))
        return _readable(job_id, record)

    async def list(self) -> "list[JobRecord]":
        """All records that can be read, the last queued one first."""
        return await read(self._store, read_of_jobs())

    async def wait_for_work(self, timeout_s: float, lane: str = Lane.WORKER) -> None:
        """Returns when the lane may have work, at the latest `timeout_s` after the last check.

        Call `has_work` or `take` afterwards: they check it, and reset the wakeup.
        """
        if self._subscription is None and isinstance(self._store, NativeStore):
            self._subscription = Subscription(
                self._store, self._channel, on_message=self._on_queued, on_connected=self.wake
            )
            self._subscription.start()
        entered = time.monotonic()
        while (left_s := max(entered, self._checked_at) + timeout_s - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._wakeups[lane].wait()
                return
            except TimeoutError:
                pass  # another lane may have checked for all lanes meanwhile

    def wake(self) -> None:
        """Ends every `wait_for_work` of this process."""
        for wakeup in self._wakeups.values():
            wakeup.set()

    def next_run_end(self) -> asyncio.Event:
        """An event that is set when the next run ends in this process; get it before checking a
        record. Runs that end in other processes do not set it, so poll as well."""
        return self._run_ended

    async def aclose(self) -> None:
        """Ends the subscription and the timers; the store stays open."""
        for timer in self._timers.values():
            timer.cancel()
        if self._subscription is not None:
            await self._subscription.aclose()

    def _on_queued(self, message: bytes) -> None:
        job_id = message.decode(errors="replace")
        if job_id in JOB_IDS:
            self._wakeups[lane_of(job_id)].set()


def read_of_jobs() -> "Read[list[JobRecord]]":
    """The read of `JobQueue.list`."""
    keys = [_key(job_id) for job_id in JOB_IDS]
    return Read("list", LIST, keys, (), list_of(named_texts, len(JOB_IDS)), _listed)


def _listed(records: Sequence[Sequence[bytes]]) -> "list[JobRecord]":
    known = [
        (sequence_of(record), job)
        for job_id, record in zip(JOB_IDS, records, strict=True)
        if (job := _readable(job_id, record)) is not None
    ]
    return [record for _, record in sorted(known, key=lambda pair: pair[0], reverse=True)]


def _raise_unless_held(answer: bytes, lease: Lease) -> None:
    lease.raise_if_lost(answer)
    if answer == b"aborted":
        raise JobAborted("the run was aborted")


def _readable(job_id: str, record: Sequence[bytes]) -> JobRecord | None:
    if not record:
        return None
    try:
        return read_record(job_id, record)
    except UnreadableRecord as error:
        _log.warning("job_record_unreadable", job=job_id, error=str(error))
        return None


def _key(job_id: str) -> str:
    return f"job:{job_id}"


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number
