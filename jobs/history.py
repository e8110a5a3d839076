"""The job `record`: takes in what publishes left in the journal, and keeps the record in shape."""

from typing import Final

import structlog

from database import DatabaseUnavailable
from history.recorder import Observer, Recorded, Recorder
from job_queue.records import JobRecord
from jobs.context import JobContext, JobFailed, Outcome, Progress
from jobs.upkeep import check_record, compact_record, remove_old
from market.timeframes import DAY_MS, HOUR_MS
from stores.hot.journal import store_id
from stores.hot.leases import Lease
from timing.clock import utc_text

JOB_ID: Final = "record"
_MOST_TOLD: Final = 20  # gaps
_OF_ANOTHER_STORE: Final = (
    "not recorded: DATABASE_URL has the record of another hot store, last at {}. Of two"
    " installations, give each a database of its own, or set HISTORY=off. If that store is lost,"
    " what waits is recorded 15 minutes after that time, or at once after DELETE FROM"
    " history_hot_store in the database; nothing is lost until then"
)

log = structlog.get_logger(__name__)


async def record(context: JobContext, _: JobRecord, __: Lease, progress: Progress) -> Outcome:
    """Records all versions that were published; a failure is followed by another wish for it."""
    if not context.keeps_history:
        return Outcome(None, _told(Recorded()))
    progress.enter("record")

    def recorded(rows: int, updated_at_ms: int) -> None:
        context.metrics.recorded(rows, (context.now_ms() - updated_at_ms) / 1000)

    def taken(done: int, waiting: int) -> None:
        progress.count(done, done + waiting)

    observer = Observer(recorded, context.metrics.history_gap, taken)
    recorder = Recorder(context.cache, context.database, context.now_ms, observer)
    try:
        await _note_hot_store(context)
        result = await recorder.record()
        await _forget_old_entries(context)
        checked = await _keep(context)
    except Exception:
        context.recording.failed()
        raise
    context.recording.done()
    return Outcome(None, _told(result) | checked)


async def _note_hot_store(context: JobContext) -> None:
    """Raises JobFailed while the record takes the publishes of another hot store: of two
    installations each would take the other's for its own."""
    wish, now_ms = context.recording, context.now_ms()
    wish.store_id = await store_id(context.store, wish.store_id)
    other = await context.database.publishes.note_hot_store(wish.store_id, now_ms)
    if other is None:
        return
    if not other.is_left:
        raise JobFailed(_OF_ANOTHER_STORE.format(utc_text(other.recorded_ms)))
    log.warning(
        "history_of_another_store",
        since=other.recorded_ms,
        hint="right if the hot store was lost or moved; two installations need a database each",
    )


async def _forget_old_entries(context: JobContext) -> None:
    """Once an hour, removes the entries from before JOURNAL_DAYS."""
    now_ms = context.now_ms()
    if 0 <= now_ms - context.recording.forgot_ms < HOUR_MS:
        return
    before_ms = now_ms - context.settings.journal_days * DAY_MS
    forgotten = await context.database.publishes.forget_entries(before_ms)
    context.recording.forgot_ms = now_ms
    if forgotten:
        log.info("journal_entries_forgotten", entries=forgotten)


async def _keep(context: JobContext) -> dict[str, object]:
    """Without schedules, once a day: compacts the record, removes what is older than its settings
    allow, and checks a share of the series; returns what of the check goes into the record."""
    now_ms = context.now_ms()
    if context.settings.schedules == "on" or 0 <= now_ms - context.recording.kept_ms < DAY_MS:
        return {}
    try:
        await compact_record(context)
        await remove_old(context)
    except DatabaseUnavailable:
        # Recording goes on: what cannot be compacted is not tried at each run.
        context.recording.kept_ms = now_ms - DAY_MS + HOUR_MS
        raise
    context.recording.kept_ms = now_ms
    try:
        return {"checked": await check_record(context)}
    except DatabaseUnavailable as error:
        log.warning("record_not_checked", error=str(error))
        return {}


def _told(result: Recorded) -> dict[str, object]:
    """The result in the job's record."""
    return {
        "entries": result.entries,
        "recorded": result.rows,
        "gaps": [
            {"document": gap.document, "since": gap.since_ms, "until": gap.until_ms}
            for gap in result.gaps[-_MOST_TOLD:]
        ],
    }
