"""How old a document may be: what a setting says, or what the schedules that refresh it imply."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from config import Settings
from database import ScheduleRow
from documents.meta import DocumentMeta
from documents.names import GLOBAL_FR, OVERVIEW
from job_queue.kinds import ALL, JOBS, collect_id, producers_of
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from timing.clock import utc_text
from workers.timetable import WrongTimetable, timetable_of

_GRACE_MS: Final = MINUTE_MS  # for the run that makes it
_FIRST_MS: Final = 15 * MINUTE_MS  # until the first version, after a schedule is there
# Before the database has told: what comes with Perpcache.
_CLOSES_MS: Final = 5 * MINUTE_MS
_FUNDING_MS: Final = HOUR_MS
_FUNDING_JOB: Final = "funding"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A document is refreshed by itself, every `period_ms` at least, since then (UTC)."""

    period_ms: int
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class Old:
    """A document is too old, since when, and why in words."""

    since_ms: int | None
    why: str


def refreshed_documents(
    settings: Settings, schedules: Sequence[ScheduleRow] | None
) -> Mapping[str, Refreshed]:
    """The documents that schedules refresh, and how often. `schedules`: None before the database
    has told them; then those that come with Perpcache count."""
    if settings.schedules == "off":
        return {}
    found: dict[str, Refreshed] = {}
    for job_id, refreshed in _jobs(schedules):
        for name in _published(job_id, settings.timeframes):
            known = found.get(name)
            if known is None or refreshed.period_ms < known.period_ms:
                found[name] = refreshed
    return found


def _published(job_id: str, timeframes: Collection[str]) -> Iterable[str]:
    """The documents that a run of the job makes."""
    job = JOBS.get(job_id)
    if job is not None:
        yield from job.published(timeframes)
    if job_id in producers_of(OVERVIEW, timeframes):
        yield OVERVIEW


def _jobs(schedules: Sequence[ScheduleRow] | None) -> Iterable[tuple[str, Refreshed]]:
    if schedules is None:
        yield collect_id(ALL), Refreshed(_CLOSES_MS, None)
        yield _FUNDING_JOB, Refreshed(_FUNDING_MS, None)
        return
    for row in schedules:
        if row.enabled and row.next_run_ms is not None:
            period_ms = _period_ms(row.cron, row.every_s, row.tz, row.next_run_ms)
            if period_ms is not None:
                for job_id in row.refreshes:
                    yield job_id, Refreshed(period_ms, row.changed_at_ms)


@lru_cache(256)
def _period_ms(cron: str | None, every_s: int | None, tz: str, next_run_ms: int) -> int | None:
    """From the next run to the one after it."""
    if every_s is not None:
        return every_s * 1000
    try:
        following = timetable_of(cron, every_s, 0, tz).next_after(next_run_ms)
    except WrongTimetable:
        return None
    return None if following is None else following - next_run_ms


def old(
    settings: Settings,
    name: str,
    meta: DocumentMeta | None,
    refreshed: Refreshed | None,
    now_ms: int,
) -> Old | None:
    """Whether the document is too old; None if it is not, or has no limit.

    With a limit of DOCUMENT_AGE_LIMITS: since it was made. Else, of one that is refreshed by
    itself: one interval (or the time between two refreshes, if that is longer) and a minute after
    the first close that it lacks.
    """
    limits = dict(settings.document_age_limits)
    limit_s = limits.get(name)
    if limit_s == 0 or (limit_s is None and refreshed is None):
        return None
    if meta is None:
        since_ms = refreshed.since_ms if refreshed is not None else None
        # The overview has its first version with the first close after an update, however long
        # the schedule has been there.
        if since_ms is None or name == OVERVIEW or now_ms - since_ms < _FIRST_MS:
            return None
        return Old(since_ms, f"nothing was collected since {utc_text(since_ms)}")
    if limit_s is not None:
        due_ms = meta.updated_at_ms + limit_s * 1000
        if now_ms <= due_ms:
            return None
        age = spoken(now_ms - meta.updated_at_ms)
        return Old(due_ms, f"it is {age} old (limit {spoken(limit_s * 1000)})")
    assert refreshed is not None  # noqa: S101 - else it has no limit
    interval_ms = refreshed.period_ms
    missed_ms = meta.as_of_ms + interval_ms
    if name != GLOBAL_FR:
        timeframe = Timeframe.M5 if name == OVERVIEW else Timeframe(name)
        interval_ms = max(refreshed.period_ms, timeframe.interval_ms)
        missed_ms = timeframe.floor(meta.as_of_ms) + timeframe.interval_ms
    due_ms = missed_ms + interval_ms + _GRACE_MS
    if now_ms <= due_ms:
        return None
    what = "the refresh due" if name == GLOBAL_FR else "the close"
    return Old(
        missed_ms,
        f"it lacks {what} at {utc_text(missed_ms)}, {spoken(now_ms - missed_ms)} ago (limit"
        f" {spoken(interval_ms + _GRACE_MS)})",
    )


def spoken(ms: int) -> str:
    """A length of time in its two largest units: 4 h 10 min."""
    seconds = max(0, ms) // 1000
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    told: list[str] = []
    for name, length in units:
        if (count := seconds // length) or (name == "s" and not told):
            told.append(f"{count} {name}")
            seconds -= count * length
    return " ".join(told[:2])
