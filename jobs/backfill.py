"""The job `backfill`: works through what was wished for, one wish after another."""

from typing import Any, Final

import structlog

from data_collector.internal_errors import ENDS_JOB
from database import BackfillWish, CursorMoved, DatabaseUnavailable, WishState
from history.backfill.requesting import shares_of
from history.backfill.wanted import stored_wish
from job_queue.records import JobRecord
from jobs.backfill_run import BackfillRun, WishOver
from jobs.backfill_tally import Tally
from jobs.backfill_targets import targets_of
from jobs.context import JobContext, JobFailed, Outcome, Progress
from stores.hot.leases import Lease

JOB_ID: Final = "backfill"
HOLES: Final = "holes"

log = structlog.get_logger(__name__)


async def backfill(context: JobContext, _: JobRecord, lease: Lease, progress: Progress) -> Outcome:
    """Ends when no wish is open. A wish that a kill or a store that is away interrupts stays open,
    for the next run; one that cannot be worked on has failed, whatever the mistake: it would fail
    again, and hold up all others."""
    ended: dict[str, str] = {}
    rows = requests = 0
    while wish := next(iter(await context.database.backfills.open()), None):
        tally = Tally(wish)
        try:
            ended[str(wish.id)] = await _work_on(context, tally, lease, progress)
        except (DatabaseUnavailable, CursorMoved, *ENDS_JOB):
            raise
        except Exception as error:
            log.exception("backfill_crashed", wish=wish.id)
            cause = f"internal error: {type(error).__name__}"
            ended[str(wish.id)] = await _finish(context, tally, "failed", cause)
        rows += tally.rows
        requests += tally.requests
    context.metrics.backfilled(requests=0, rows=0, seconds_left=0.0)
    if ended and context.keeps_history:
        await context.queue.request(HOLES)  # what is lacking still may be the exchange's
    return Outcome(None, {"wishes": ended, "rows": rows, "requests": requests})


async def _work_on(context: JobContext, tally: Tally, lease: Lease, progress: Progress) -> str:
    """The state in which the wish ends."""
    wish, database = tally.row, context.database
    if not await database.backfills.start(wish.id, context.now_ms()):
        return "cancelled"
    try:
        wanted = stored_wish(wish.wanted)
        targets = await targets_of(context, wanted, lease, progress)
    except (ValueError, JobFailed) as error:
        return await _finish(context, tally, "failed", str(error))
    named = {target.market.symbol for target in targets}
    unknown = sorted({*wanted.symbols} - named)
    for symbol in unknown:
        tally.failed(symbol, f"no market of {', '.join(wanted.exchanges)} has this symbol")
    tally.markets = len(targets) + len(unknown)
    if not targets:
        nobody = f"no market of {', '.join(wanted.exchanges)} is collected here"
        return await _finish(context, tally, "failed", tally.error() or nobody)
    log.info("backfill_started", wish=wish.id, markets=len(targets), **_seen(wish))
    try:
        shares = await shares_of(database, context.settings)
        await BackfillRun(context, wanted, targets, shares, progress, tally, lease).work()
    except WishOver:
        log.info("backfill_cancelled", wish=wish.id)
        return "cancelled"
    state: WishState = "failed" if tally.all_failed else "complete"
    return await _finish(context, tally, state, tally.error())


def _seen(wish: BackfillWish) -> dict[str, Any]:
    return {"wanted": dict(wish.wanted), "resumed": wish.started_at_ms is not None}


async def _finish(context: JobContext, tally: Tally, state: WishState, error: str | None) -> str:
    wish = tally.row
    filled = tally.filled
    if not await context.database.backfills.finish(wish.id, state, context.now_ms(), error):
        return "cancelled"
    log.info(
        "backfill_ended",
        wish=wish.id,
        state=state,
        error=error,
        added=filled.added,
        corrected=filled.corrected,
        unchanged=filled.unchanged,
        left_out=tally.left_out,
        out_of_reach=tally.out_of_reach,
        to_documents=tally.to_documents,
    )
    return state
