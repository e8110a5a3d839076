"""The agent: the workers that come with Perpcache, by which it feeds itself.

Operators change all of their rows. What providers bring beside the exchanges joins here: a line in
`built_in`, and its job in the rounds of workers/rounds.py.
"""

from collections.abc import Callable
from typing import Any, Final

from config import Settings
from database import Database
from job_queue.kinds import ALL, collect_id
from market.timeframes import DAY_MS
from timing.clock import now_ms
from workers.context import Context
from workers.definition import Function, WorkerDefinition
from workers.rounds import (
    HISTORICAL_DATA,
    HISTORICAL_TIMEOUT_S,
    UI_DATA,
    UI_TIMEOUT_S,
    collect_historical_data,
    collect_ui_data,
    saved_rows,
)

__all__ = ["CLOSES", "JobNotDone", "built_in", "collect_historical_data", "collect_ui_data"]

CLOSES: Final = "closes"
# Each asks for the job of its name. A process that only fires schedules knows these names, and
# loads nothing of what the jobs do.
FUNDING: Final = "funding"
DISCOVERY: Final = "discovery"
COMPACTION: Final = "compaction"
RETENTION: Final = "retention"
INTEGRITY: Final = "integrity"
HOLES: Final = "holes"
_ALL_JOB: Final = collect_id(ALL)
_CLOSE_EVERY_S: Final = 300
# Hosts' clocks and the exchanges' differ by some tens of ms: a pass that comes before an exchange's
# close would bring that close with the next one.
_AFTER_CLOSE_S: Final = 1
_UI_OFFSET_S: Final = 60
_HISTORICAL_EVERY_S: Final = 900
_HISTORICAL_OFFSET_S: Final = 120
_LEFT_TO_TELL_S: Final = 10.0  # of a run's time, for its own end
_JOB_TIMEOUT_S: Final = 900.0
_UPKEEP_TIMEOUT_S: Final = 4 * 3600.0  # the first compaction of a large record


class JobNotDone(Exception):
    """The job that a worker asked for failed, was aborted, or did not end in time."""


def built_in(settings: Settings, database: Database) -> list[WorkerDefinition]:
    """The agent's workers, as they are unless an operator has changed them."""
    keeps_history = settings.history == "on"
    return [
        _agent(
            CLOSES,
            closes,
            "after each close of 5m: the documents of TIMEFRAMES that are due, in one pass",
            every_s=_CLOSE_EVERY_S,
            offset_s=_AFTER_CLOSE_S,
            refreshes=(_ALL_JOB,),
            timeout_s=60.0,
        ),
        _agent(
            UI_DATA,
            collect_ui_data,
            "what users look at: the documents of UI_TIMEFRAMES",
            every_s=_CLOSE_EVERY_S,
            offset_s=_UI_OFFSET_S,
            refreshes=tuple(dict.fromkeys(map(collect_id, settings.ui_timeframes))),
            timeout_s=UI_TIMEOUT_S,
            max_attempts=1,  # the next round is due
        ),
        _agent(
            HISTORICAL_DATA,
            collect_historical_data,
            "what the history needs: the documents of HISTORY_TIMEFRAMES",
            every_s=_HISTORICAL_EVERY_S,
            offset_s=_HISTORICAL_OFFSET_S,
            refreshes=tuple(dict.fromkeys(map(collect_id, settings.history_timeframes))),
            timeout_s=HISTORICAL_TIMEOUT_S,
            max_attempts=1,
        ),
        _agent(
            FUNDING,
            _waiting_for(FUNDING, _JOB_TIMEOUT_S),
            "after each settlement: the funding of all markets",
            cron="1 * * * *",
            refreshes=(FUNDING,),
            timeout_s=_JOB_TIMEOUT_S,
        ),
        _agent(
            DISCOVERY,
            _waiting_for(DISCOVERY, _JOB_TIMEOUT_S),
            "the markets that the exchanges list",
            cron="17 3 * * *",
            timeout_s=_JOB_TIMEOUT_S,
        ),
        _agent(
            COMPACTION,
            _waiting_for(COMPACTION, _UPKEEP_TIMEOUT_S),
            "puts what was recorded into chunks",
            cron="7 4 * * *",
            timeout_s=_UPKEEP_TIMEOUT_S,
            enabled=keeps_history,
        ),
        _agent(
            RETENTION,
            _retention(settings, database),
            "removes what is older than RETENTION_..._DAYS, RUN_HISTORY_DAYS, RUN_LOG_DAYS and"
            " PROVIDER_DAYS say",
            cron="27 4 * * *",
            timeout_s=_UPKEEP_TIMEOUT_S,
        ),
        _agent(
            INTEGRITY,
            _waiting_for(INTEGRITY, _UPKEEP_TIMEOUT_S),
            "checks a thirtieth of the record",
            cron="47 4 * * *",
            timeout_s=_UPKEEP_TIMEOUT_S,
            enabled=keeps_history,
        ),
        _agent(
            HOLES,
            _waiting_for(HOLES, _JOB_TIMEOUT_S),
            "looks for holes of the record, and asks the exchanges for them",
            cron="37 * * * *",
            timeout_s=_JOB_TIMEOUT_S,
            enabled=keeps_history,
        ),
    ]


async def closes(job: Context) -> dict[str, Any]:
    """Asks for all timeframes, and does not wait: the pass itself waits for the closing events of
    streams. Raises StoreUnavailable."""
    asked = await job.ask(_ALL_JOB)
    return {"asked": [{"id": asked.id, "run": asked.run, "state": "asked", "rows": 0}], "rows": 0}


def _agent(name: str, function: Function, description: str, **row: Any) -> WorkerDefinition:
    return WorkerDefinition(
        name=name,
        kind="schedule",
        function=function,
        place="jobs/agent.py",
        origin="code",
        description=description,
        **row,
    )


def _waiting_for(job_id: str, timeout_s: float) -> Function:
    """Asks for the job and waits for its end."""

    async def run(job: Context) -> dict[str, Any]:
        return await _done(job, job_id, timeout_s)

    return run


async def _done(job: Context, job_id: str, timeout_s: float) -> dict[str, Any]:
    """The result of the job. Raises JobNotDone, StoreUnavailable."""
    asked = await job.ask(job_id)
    outcome = await job.wait_for(asked, timeout_s - _LEFT_TO_TELL_S)
    if outcome.state != "complete":
        raise JobNotDone(f"{job_id}, run {outcome.run}: {outcome.error or outcome.state}")
    told = {"id": outcome.id, "run": outcome.run, "state": outcome.state}
    rows = saved_rows(outcome)
    return {"asked": [{**told, "rows": rows}], "rows": rows, "result": dict(outcome.result or {})}


def _retention(
    settings: Settings, database: Database, clock_ms: Callable[[], int] = now_ms
) -> Function:
    async def retention(job: Context) -> dict[str, Any]:
        """Removes old runs, lines of the log, collections, failures and what providers told; then
        old rows of the record. Raises DatabaseUnavailable, JobNotDone, StoreUnavailable."""
        removed: dict[str, Any] = {}
        for table, days in (
            ("worker_run", settings.run_history_days),
            ("execution_log", settings.run_log_days),
        ):
            removed[table] = await database.workers.drop_months(table, days)
        if settings.run_history_days:
            before_ms = clock_ms() - settings.run_history_days * DAY_MS
            removed["data_collections"] = await database.data_collections.forget(before_ms)
            removed["failure_logs"] = await database.failure_logs.forget(before_ms)
        if settings.provider_days:
            now = clock_ms()
            before_ms = now - settings.provider_days * DAY_MS
            removed |= await database.providers.forget(before_ms, now_ms=now)
        if settings.history == "on":
            removed |= (await _done(job, RETENTION, _UPKEEP_TIMEOUT_S))["result"]
        return removed

    return retention
