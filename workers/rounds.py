"""The two rounds of the agent: what users look at, and what the history needs, collected and told.

Nothing is asked of the exchanges for what the collection of all timeframes has brought at the close
before. A round waits for what it asked for, so that its run tells what was saved.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from job_queue.kinds import ALL, collect_id
from market.timeframes import Timeframe
from workers.asking import Asked, Outcome
from workers.context import Context

UI_DATA: Final = "ui_data"
HISTORICAL_DATA: Final = "historical_data"
UI_TIMEOUT_S: Final = 285.0  # the next one comes 300 s later
HISTORICAL_TIMEOUT_S: Final = 885.0
_LEFT_TO_TELL_S: Final = 15.0  # of a round's time, for its own end
_ALL_JOB: Final = collect_id(ALL)
_SEVERAL: Final = 2


class RoundFailed(Exception):
    """Nothing of what a round asked for was collected; the message says why."""


async def collect_ui_data(
    job: Context, timeframes: Sequence[Timeframe] | None = None
) -> dict[str, Any]:
    """Collects what users look at: the documents of UI_TIMEFRAMES, or of `timeframes`; without
    `timeframes` also prices, fees and sentiment, unless PROVIDERS=off.

    Returns `asked`, with id, run, state (complete, fresh, failed, aborted or pending) and saved
    rows of each job, and the sum of `rows`. Raises RoundFailed where every one of them failed, and
    StoreUnavailable.
    """
    if timeframes is not None:
        return await _collected(job, timeframes, UI_TIMEOUT_S)
    return await _collected(job, job.settings.ui_timeframes, UI_TIMEOUT_S, "providers")


async def collect_historical_data(
    job: Context, timeframes: Sequence[Timeframe] | None = None
) -> dict[str, Any]:
    """Collects what the history needs: the documents of HISTORY_TIMEFRAMES, or of `timeframes`;
    what they publish is recorded; and all that providers tell. Otherwise as collect_ui_data."""
    if timeframes is not None:
        return await _collected(job, timeframes, HISTORICAL_TIMEOUT_S)
    return await _collected(
        job, job.settings.history_timeframes, HISTORICAL_TIMEOUT_S, "providers_all"
    )


async def _collected(
    job: Context, timeframes: Sequence[Timeframe], timeout_s: float, of_providers: str | None = None
) -> dict[str, Any]:
    """`of_providers`: the job that asks them, which goes on beside the others."""
    deadline = time.monotonic() + timeout_s - _LEFT_TO_TELL_S
    beside = []
    if of_providers is not None and job.settings.providers != "off":
        beside.append(await job.ask(of_providers))
    wanted = _wanted(job, timeframes)
    outcomes = await _pass_over_all(job, wanted, deadline) if job.why == "schedule" else []
    if any(each.state == "pending" for each in outcomes):
        return _told(outcomes)
    asked = [await job.ask(job_id, not_older_than_ms=since) for job_id, since in wanted.items()]
    asked += beside
    outcomes += [await _outcome(job, each, deadline) for each in asked]
    if outcomes and all(each.state in ("failed", "aborted") for each in outcomes):
        causes = dict.fromkeys(f"{each.id}: {each.error or each.state}" for each in outcomes)
        raise RoundFailed("; ".join(causes))
    return _told(outcomes)


async def _pass_over_all(
    job: Context, wanted: Mapping[str, int | None], deadline: float
) -> list[Outcome]:
    """Waits for the pass over all timeframes that is under way, or asks for one where several are
    not fresh: each for itself would cost the exchanges as many requests as all together. Its
    outcome, if it was asked for here or has not ended."""
    pending = await job.pending(_ALL_JOB)
    if pending is not None:
        outcome = await _outcome(job, pending, deadline)
        return [outcome] if outcome.state == "pending" else []
    published = set(map(collect_id, job.settings.timeframes))
    stale = [
        job_id
        for job_id, since in wanted.items()
        if job_id in published and since is not None and not await job.is_fresh(job_id, since)
    ]
    if len(stale) < _SEVERAL:
        return []
    return [await _outcome(job, await job.ask(_ALL_JOB), deadline)]


def _wanted(job: Context, timeframes: Sequence[Timeframe]) -> dict[str, int | None]:
    """The jobs, each with the time (UTC ms) that its documents may not be older than: that at which
    a candle of it closed last, of a scheduled round. What a forced one asks for is new."""
    return {
        collect_id(timeframe): (
            timeframe.collected_as.floor(job.slot_ms) if job.why == "schedule" else None
        )
        for timeframe in timeframes
    }


async def _outcome(job: Context, asked: Asked, deadline: float) -> Outcome:
    return await job.wait_for(asked, max(0.0, deadline - time.monotonic()))


def _told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    told = [
        {"id": each.id, "run": each.run, "state": each.state, "rows": saved_rows(each)}
        for each in outcomes
    ]
    return {"asked": told, "rows": sum(saved_rows(each) for each in outcomes)}


def saved_rows(outcome: Outcome) -> int:
    """How many rows the documents have that the run published."""
    rows = (outcome.result or {}).get("rows")
    return rows if isinstance(rows, int) and not isinstance(rows, bool) and rows > 0 else 0
