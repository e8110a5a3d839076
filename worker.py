"""The worker: takes each lane's lease, runs its queued jobs one by one, and sends heartbeats."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import structlog

from database import DatabaseUnavailable
from job_queue.kinds import Lane
from job_queue.queue import JobAborted, JobQueue
from job_queue.records import JobRecord
from jobs.context import JobContext, JobFailed, Outcome, Progress
from jobs.runners import run_job
from logging_setup import OutageLog
from metrics.exposition import pack
from stores.hot.beats import beat_times
from stores.hot.leases import Lease, LeaseLost, try_acquire
from stores.hot.store import StoreRefused, StoreUnavailable
from timing.backoff import Backoff, stop_or
from timing.clock import Clock, SystemClock
from venues.errors import CollectionFailed, ExchangeError

# A job's record must be at most 1 s old, so it is written more often.
_REPORT_EVERY_S: Final = 0.5
# Over Upstash, where every command is billed, heartbeats are the looks for new jobs: a lane looks
# by itself only when woken, or when no heartbeat did so for this long.
LOOK_EVERY_S: Final = {"native": 1.0, "upstash": 60.0}
_FIRST_RETRY_S: Final = 0.5
_SLOWEST_RETRY_S: Final = 5.0
# SIGTERM must end the worker within 3 s; handing a job back may take this much of it.
_HAND_BACK_S: Final = 1.0

log = structlog.get_logger(__name__)

Watcher = Callable[[JobRecord, Progress], None]
# How a run ended here; queued: handed back; lost: the lease or the run is no longer ours.
RunEnd = Literal["complete", "failed", "aborted", "queued", "lost"]


class Worker:
    """Runs queued jobs until stopped, and then hands the running ones back to the queue."""

    def __init__(
        self,
        context: JobContext,
        *,
        holder: str,
        watcher: Watcher | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`watcher` is called with a running job's progress; `clock` paces the heartbeats."""
        self._context = context
        self._clock = clock or SystemClock()
        self._queue: JobQueue = context.queue
        self._holder = holder
        self._watcher = watcher
        self._beat_now = asyncio.Event()  # set when a job ends, to publish its metrics at once
        self._look_every_s = LOOK_EVERY_S[context.store.kind]

    async def run(self, stop: asyncio.Event) -> None:
        """Serves its lanes until `stop`. Failures of stores or exchanges are never raised.

        The history's lane is for workers that keep a history: another would end the job `record`
        without having recorded what waits.
        """
        lanes = [lane for lane in Lane if lane is not Lane.HISTORY or self._context.keeps_history]
        async with asyncio.TaskGroup() as running:
            for lane in lanes:
                running.create_task(self._serve_lane(lane, stop), name=f"lane-{lane}")
            running.create_task(self._send_heartbeats(stop), name="beat")

    async def _send_heartbeats(self, stop: asyncio.Event) -> None:
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(log, "heartbeat_failed", "heartbeat_restored")
        while not stop.is_set():
            try:
                self._beat_now.clear()
                await self._queue.beat(self._holder, pack(self._context.metrics.registry))
                outage.recovered()
                backoff.reset()
                pause_s = beat_times(self._context.store).every_s
            except StoreUnavailable as error:
                outage.failed(error)
                pause_s = backoff.pause_s()
            pause = self._clock.sleep(pause_s)
            await _wait_for_first(stop.wait(), self._beat_now.wait(), pause)

    async def _serve_lane(self, lane: Lane, stop: asyncio.Event) -> None:
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(log, "store_unavailable", "store_available_again")
        while not stop.is_set():
            try:
                await self._run_queued_jobs(lane, stop)
                backoff.reset()
                outage.recovered(lane=lane)
                await _wait_for_first(
                    stop.wait(), self._queue.wait_for_work(self._look_every_s, lane)
                )
            except StoreUnavailable as error:
                retry_s = backoff.pause_s()
                outage.failed(error, lane=lane, retry_in_s=retry_s)
                await stop_or(stop, retry_s)

    async def _run_queued_jobs(self, lane: Lane, stop: asyncio.Event) -> None:
        """Runs the queued jobs of `lane` if its lease is free."""
        if not await self._queue.has_work(lane):
            return
        lease = await self.acquire(lane)
        if lease is None:
            return
        try:
            while lease.held and not stop.is_set() and (job := await self._queue.take(lease)):
                if await self.run_one(job, lease, stop) == "lost":
                    # A run whose end the store refused would be taken again at once under this
                    # lease, and collected again and again; so the lease is released first.
                    return
        except LeaseLost as error:
            log.warning("lease_lost", lane=lane, error=str(error))
        finally:
            await lease.release()

    async def acquire(self, lane: Lane) -> Lease | None:
        """The lane's lease; None while another worker holds it. Raises StoreUnavailable."""
        lease = await try_acquire(
            self._context.store,
            lane,
            holder=self._holder,
            ttl_s=self._context.settings.worker_lock_ttl_s,
        )
        self._context.metrics.lease_requested(lane, acquired=lease is not None)
        return lease

    async def run_one(self, job: JobRecord, lease: Lease, stop: asyncio.Event) -> RunEnd:
        """Runs a taken job, and returns how it ended."""
        with structlog.contextvars.bound_contextvars(job=job.id, run=job.run):
            log.info("job_started", attempt=job.attempts)
            waited_s = ((job.started_at or 0) - (job.enqueued_at or job.started_at or 0)) / 1000
            with self._context.metrics.running(job.id, waited_s) as timer:
                timer.outcome = end = await self._run_to_end(job, lease, stop)
            log.info("job_ended", state=end)
            self._beat_now.set()
            return end

    async def _run_to_end(self, job: JobRecord, lease: Lease, stop: asyncio.Event) -> RunEnd:
        progress = Progress()
        work = asyncio.create_task(run_job(self._context, job, lease, progress))
        report = asyncio.create_task(self._report(job, lease, progress))
        try:
            await _wait_for_first(work, report, lease.lost.wait(), stop.wait())
            if work.done():
                return await self._finish(job, lease, work)
            if report.done():
                # The report ends by itself only when the job was aborted or the lease was lost.
                return _end_from_report(report)
            if lease.lost.is_set():
                log.warning("lease_lost")
                return "lost"
            return await self._hand_back(job, lease, work)
        finally:
            await _cancel(work, report)

    async def _report(self, job: JobRecord, lease: Lease, progress: Progress) -> None:
        """Writes the job's progress into its record. Raises JobAborted or LeaseLost."""
        while True:
            if self._watcher is not None:
                self._watcher(job, progress)
            try:
                await self._queue.progress(
                    job, lease, phase=progress.phase, done=progress.done, total=progress.total
                )
            except StoreUnavailable as error:
                # The lease is lost if the store stays away for too long.
                log.warning("progress_not_saved", error=str(error))
            await asyncio.sleep(_REPORT_EVERY_S)

    async def _finish(self, job: JobRecord, lease: Lease, work: "asyncio.Task[Outcome]") -> RunEnd:
        """Writes the outcome of the work into the job's record."""
        outcome: Outcome | None = None
        error: str | None = None
        try:
            outcome = work.result()
        except (LeaseLost, JobAborted) as reason:
            log.warning("job_run_lost", error=str(reason))
            return "lost"
        except StoreUnavailable as reason:
            if not isinstance(reason, StoreRefused) or reason.transient:
                log.warning("store_unavailable", error=str(reason))
                return await self._hand_back(job, lease, work)
            # The store is full or over its quota, so collecting everything again would not help.
            error = str(reason)
            log.error("job_failed", error=error)
        except (JobFailed, CollectionFailed, ExchangeError, DatabaseUnavailable) as reason:
            error = str(reason)
            log.error("job_failed", error=error)
        except Exception as reason:
            # A bug in one job must not stop the lane.
            error = f"internal error: {type(reason).__name__}: {reason}"
            log.exception("job_crashed")
        state: Literal["complete", "failed"] = "complete" if outcome is not None else "failed"
        try:
            await self._queue.finish(
                job,
                lease,
                state=state,
                as_of_ms=outcome.as_of_ms if outcome else None,
                result=outcome.result if outcome else None,
                error=error,
            )
        except JobAborted:
            return "aborted"
        except (LeaseLost, StoreUnavailable) as reason:
            log.warning("job_outcome_not_saved", error=str(reason))
            return "lost"
        if self._context.endings is not None:
            self._context.endings.ended(
                job,
                result=outcome.result if outcome else None,
                missing=outcome.missing if outcome else (),
                error=error,
            )
        if self._context.heartbeat is not None:
            self._context.heartbeat.ended(job.id, job.run, state, error)
        if outcome is not None:
            self._context.metrics.published(job.id, outcome.result)
        return state

    async def _hand_back(
        self, job: JobRecord, lease: Lease, work: "asyncio.Task[Outcome]"
    ) -> RunEnd:
        """Puts the job back into the queue, for another worker or the next start."""
        await _cancel(work)
        try:
            async with asyncio.timeout(_HAND_BACK_S):
                await self._queue.hand_back(job, lease)
        except JobAborted:
            return "aborted"
        except (StoreUnavailable, LeaseLost, TimeoutError) as error:
            # The record stays active under our token, so the next lease holder takes it over.
            log.warning("job_not_handed_back", error=str(error))
            return "lost"
        return "queued"


def _end_from_report(report: "asyncio.Task[None]") -> RunEnd:
    reason = report.exception()
    if isinstance(reason, JobAborted):
        log.info("job_aborted")
        return "aborted"
    if isinstance(reason, LeaseLost):
        log.warning("lease_lost")
        return "lost"
    raise reason or RuntimeError("the progress report ended without a reason")


async def _wait_for_first(*waits: Awaitable[object]) -> None:
    """Returns when the first of `waits` is done. Remaining coroutines are cancelled; tasks that
    were passed in go on."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    ours = [task for task, wait in zip(tasks, waits, strict=True) if task is not wait]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(*(task for task in ours if not task.done()))
    for task in ours:
        if task.done() and not task.cancelled():
            task.result()


async def _cancel(*tasks: "asyncio.Future[Any]") -> None:
    """Cancels the tasks and waits for their end; their results are ignored."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
