"""What GET /ready tells of leases, documents, exchanges and jobs, in words for an operator."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from database import DATABASE_TEXT, LASTING_TEXTS, ListingState
from job_queue.kinds import Lane, job_definition
from job_queue.records import JobRecord, LastRun
from market.markets import Exchange
from market.timeframes import HOUR_MS, Timeframe
from status.runs import describe_run
from stores.hot.beats import StoreHealth
from stores.hot.journal import JournalState
from stores.hot.leases import lock_key
from texts.foreign import cut
from texts.hidden_addresses import without_addresses
from timing.clock import utc_text

LOCKS: Final = tuple(map(lock_key, Lane))
# A lease that its holder renews never has longer left; one of a dead holder ends by itself then.
_LEAST_SUSPICIOUS_MS: Final = 60_000
_LONGEST_PAUSE_MS: Final = 60_000  # a longer one ends an exchange's part of a job
_CUT_TOLD_MS: Final = HOUR_MS
_LONGEST_REASON: Final = 300


def locks_state(health: StoreHealth, prefix: str, ttl_s: float) -> str:
    """`ok`, or which leases will not end by themselves and what to do."""
    problems = []
    longest_ms = max(_LEAST_SUSPICIOUS_MS, 4 * round(ttl_s * 1000))
    for key, lock in health.locks.items():
        if lock.left_ms is None:
            how_long = "and never expires"
        elif lock.left_ms > longest_ms and not lock.holder_alive:
            how_long = f"for {lock.left_ms // 1000} s more and has sent no heartbeat"
        else:
            continue
        problems.append(
            f"{key} is held by {lock.holder} {how_long}: if that process is gone, delete the key"
            f" {prefix}{key}; until then no job of this lane runs"
        )
    return "; ".join(problems) or "ok"


def lost_state(names: Sequence[str]) -> str:
    """`ok`, or which documents' values are gone, so that only processes that read them before can
    serve them."""
    keys = ", ".join(f"cache:{name}" for name in names)
    return f"has lost {keys}, evicted or deleted: the next run makes it again" if keys else "ok"


def exchanges_state(
    exchanges: Sequence[Exchange],
    jobs: Sequence[JobRecord],
    lists: Mapping[Exchange, ListingState],
    pauses: Mapping[Exchange, tuple[int, str]],
) -> str:
    """`ok`, or for each exchange what is wrong: a pause, its list, or what the newest collection
    and the newest run of funding brought; neither tells of what the other asks for.

    Runs that failed for other reasons are skipped (failures_state): they tell nothing about the
    exchanges. The error of a run that an exchange failed begins with the exchange's name.
    """
    problems = []
    for exchange in exchanges:
        left_ms, cause = pauses.get(exchange, (0, ""))
        if left_ms > _LONGEST_PAUSE_MS:
            problems.append(
                f"{exchange} is paused for {left_ms // 1000} s more: {_short(cause)}; nothing is"
                " asked of it until then from this address (EGRESS_ID)"
            )
        if (problem := _list_problem(lists.get(exchange))) is not None:
            problems.append(f"{exchange}: {problem}")
    for job_id, run in newest_of_exchanges(exchanges, jobs).values():
        if run.state == "complete":
            absent = told_by(run, "absent")
            ended = f"in the run of {job_id} that ended at {utc_text(run.finished_at_ms)}"
            problems += [
                f"{exchange} brought nothing {ended}: {_short(str(absent[exchange]))}"
                for exchange in exchanges
                if exchange in absent
            ]
        else:
            problems.append(describe_run(job_id, run))
    return "; ".join(problems) or "ok"


def newest_of_exchanges(
    exchanges: Sequence[Exchange], jobs: Sequence[JobRecord]
) -> Mapping[str, tuple[str, LastRun]]:
    """The newest run by kind of job, with the job's id, of those that tell about the exchanges."""
    newest: dict[str, tuple[str, LastRun]] = {}
    for job in sorted(jobs, key=_ended_at_ms):
        if job.last and job.produces and _is_about_exchanges(job.last, exchanges):
            newest[job.kind] = job.id, job.last
    return newest


def failures_state(
    exchanges: Sequence[Exchange], jobs: Sequence[JobRecord], timeframes: Collection[Timeframe]
) -> str:
    """`ok`, or the jobs whose last run failed for a reason that no other part tells: the worker
    died in it, it met an error of ours, or the store refused what it wrote. Their documents get
    older until a run of a job that makes them completes. `timeframes` is the setting TIMEFRAMES.
    """
    runs = failed_runs(exchanges, jobs, timeframes)
    return "; ".join(describe_run(job.id, job.last) for job in runs if job.last) or "ok"


def failed_runs(
    exchanges: Sequence[Exchange], jobs: Sequence[JobRecord], timeframes: Collection[Timeframe]
) -> list[JobRecord]:
    """The jobs that `failures_state` tells, the last that ended last."""
    return [
        job
        for job in sorted(jobs, key=_ended_at_ms)
        if job.last is not None
        and job.last.state == "failed"
        and not _is_about_exchanges(job.last, exchanges)
        and not (job.last.error or "").startswith(DATABASE_TEXT)
        and not _is_made_since(job, jobs, timeframes)
    ]


def _is_made_since(
    job: JobRecord, jobs: Sequence[JobRecord], timeframes: Collection[Timeframe]
) -> bool:
    """Whether runs that completed after this job's last one have made all its documents."""
    documents = set(job_definition(job.id).published(timeframes))
    made = {
        document
        for other in jobs
        if other.last and other.last.state == "complete" and _ended_at_ms(other) > _ended_at_ms(job)
        for document in job_definition(other.id).published(timeframes)
    }
    return bool(documents) and documents <= made


def writes_state(refusal: str | None, jobs: Sequence[JobRecord]) -> str:
    """`ok`, or why the database keeps nothing: by its settings, or by what the last runs met.

    A failed discovery is told until one completes, because nothing else stores markets; what other
    runs met until a run has stored something since.
    """
    if refusal is not None:
        return f"takes no writes: {refusal}"
    runs = [(job.last.finished_at_ms, job.id, job.last) for job in jobs if job.last]
    stored = [ms for ms, job_id, run in runs if job_id != "funding" and _has_stored(run)]
    newest: dict[str, tuple[int, str]] = {}  # by reason
    for at_ms, job_id, run in runs:
        why = _not_stored(run)
        if why is not None and (job_id == "discovery" or max(stored, default=0) <= at_ms):
            newest[why] = max((at_ms, job_id), newest.get(why, (0, "")))
    return (
        "; ".join(
            f"{_short(why)} (in the run of {job_id} that ended at {utc_text(at_ms)})"
            for why, (at_ms, job_id) in sorted(newest.items(), key=lambda item: item[1])
        )
        or "ok"
    )


def history_state(journal: JournalState | None, now_ms: int, late_s: float) -> str:
    """`ok`, or how far behind the record is, and whether the journal has no room for more.
    `late_s`: the setting HISTORY_LATE_S."""
    if journal is None:
        return "unknown while the store is away"
    return "; ".join(journal_faults(journal, now_ms, late_s)) or "ok"


def journal_faults(journal: JournalState, now_ms: int, late_s: float) -> list[str]:
    """Publishes that wait for the database for too long, or that found no room to wait."""
    faults = []
    since_ms = journal.oldest_ms
    if journal.waiting and since_ms is not None and now_ms - since_ms > late_s * 1000:
        faults.append(
            f"{journal.waiting} publishes wait to be recorded, the oldest since"
            f" {utc_text(since_ms)}"
        )
    if journal.cut_ms is not None and now_ms - journal.cut_ms < _CUT_TOLD_MS:
        faults.append(
            f"the journal had no room for {journal.cut} publishes, last at"
            f" {utc_text(journal.cut_ms)} (JOURNAL_BYTES, or the hot store's maxmemory): what they"
            " changed is recorded with the next that it has, and known since then"
        )
    return faults


def _not_stored(run: LastRun) -> str | None:
    """Why the database failed a run, or did not take its metadata for a reason that lasts."""
    failed = run.state == "failed"
    why = run.error if failed else (run.result or {}).get("metadata_not_stored")
    if isinstance(why, str) and why.startswith((DATABASE_TEXT,) if failed else LASTING_TEXTS):
        return without_addresses(why.removeprefix(DATABASE_TEXT))
    return None


def _has_stored(run: LastRun) -> bool:
    return run.state == "complete" and "metadata_not_stored" not in (run.result or {})


def _list_problem(state: ListingState | None) -> str | None:
    if state is None:
        return None
    if state.failure is not None and state.failed_ms is not None:
        return (
            f"its list of markets could not be read, last at {utc_text(state.failed_ms)}"
            f" ({state.failures} in a row): {_short(state.failure)}; it is asked again by itself"
        )
    if state.unconfirmed_ms is not None:
        return (
            f"its list of markets would remove {state.unconfirmed} of {state.active}: not believed"
            f" since {utc_text(state.unconfirmed_ms)}, unless it says so again; the markets stay"
        )
    return None


def _ended_at_ms(job: JobRecord) -> int:
    return job.last.finished_at_ms if job.last else 0


def _is_about_exchanges(last: LastRun, exchanges: Sequence[Exchange]) -> bool:
    first_word = (last.error or "").partition(" ")[0].rstrip(":")
    return last.state == "complete" or (last.state == "failed" and first_word in exchanges)


def told_by(run: LastRun, name: str) -> Mapping[str, object]:
    """A part of the run's result that is told by name; empty without it."""
    value = (run.result or {}).get(name)
    return value if isinstance(value, dict) else {}


def _short(text: str) -> str:
    return cut(text, _LONGEST_REASON)
