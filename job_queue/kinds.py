"""The table of job kinds and lanes: job ids, their lanes, and the documents that they produce.

A new kind of job is a row here and a function in jobs/runners.py; a new lane is a line of `Lane`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from documents.names import GLOBAL_FR, OVERVIEW
from market.timeframes import COLLECTED, Timeframe

ALL: Final = "all"  # as requests and answers call the job of all timeframes


class Lane(StrEnum):
    """Jobs of one lane run one at a time, under the lease of that name. Lanes run in parallel, so
    a funding refresh never waits for a long collection."""

    WORKER = "worker"
    FUNDING = "funding"
    HISTORY = "history"
    BACKFILL = "backfill"
    PROVIDERS = "providers"


def job_id_of(kind: str, asked: str | None = None) -> str:
    """The job's id. `asked` is what a request names: None for a kind with one job, `all`, or a
    timeframe, which counts as the one it is collected as (8h as 4h)."""
    if asked is None:
        return kind
    return f"{kind}:{asked if asked == ALL else Timeframe(asked).collected_as}"


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job. With `timeframes` there is one job for each, which publishes the documents
    that the timeframe produces, and one for all; else there is one job, which publishes `produces`.

    `title` describes a run. POST /api/v1/internal/<internal> queues the job. `command` is the
    help text of `python main.py <name>`, which runs the job in the foreground.
    """

    name: str
    lane: Lane
    title: str
    timeframes: tuple[Timeframe, ...] | None = None
    produces: tuple[str, ...] = ()
    internal: str | None = None
    command: str | None = None

    def jobs(self) -> "Iterator[JobDefinition]":
        """The jobs of this kind, in the order of `timeframes`; that of all comes last."""
        if self.timeframes is None:
            yield JobDefinition(self.name, self, None, self.produces)
            return
        for timeframe in self.timeframes:
            produces = tuple(map(str, timeframe.produces))
            yield JobDefinition(job_id_of(self.name, timeframe), self, timeframe, produces)
        yield JobDefinition(job_id_of(self.name, ALL), self, None, tuple(map(str, Timeframe)))


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """One job that can be requested by its id, and the documents that it can publish.

    `timeframe` is None for the job of all timeframes, too.
    """

    id: str
    kind: JobKind
    timeframe: Timeframe | None
    produces: tuple[str, ...]

    @property
    def is_of_all(self) -> bool:
        """Whether it is the job of all timeframes."""
        return self.kind.timeframes is not None and self.timeframe is None

    @property
    def asked(self) -> str | None:
        """What a request names to get this job: its timeframe or `all`; None if it has neither."""
        return ALL if self.is_of_all else self.timeframe

    def published(self, timeframes: Collection[str]) -> tuple[str, ...]:
        """The documents that it publishes when the setting TIMEFRAMES is `timeframes`, the finest
        first. The setting limits only the job of all timeframes."""
        if not self.is_of_all:
            return self.produces
        return tuple(document for document in self.produces if document in timeframes)


_COLLECT: Final = JobKind(
    "collect",
    Lane.WORKER,
    "collection of one timeframe or of all",
    timeframes=COLLECTED,
    command="collect one timeframe or all here and now, under the lease",
)
KINDS: Final = (
    _COLLECT,
    JobKind(
        "funding",
        Lane.FUNDING,
        "funding refresh",
        produces=(GLOBAL_FR,),
        internal="update-fr",
        command="refresh the funding cache here and now, under the lease",
    ),
    JobKind("discovery", Lane.WORKER, "market discovery", internal="update-coins"),
    JobKind("fill", Lane.WORKER, "open interest of first collections"),
    JobKind("record", Lane.HISTORY, "recording of publishes"),
    JobKind("compaction", Lane.HISTORY, "compaction of the record"),
    JobKind("retention", Lane.HISTORY, "removal of what the record need not keep"),
    JobKind("integrity", Lane.HISTORY, "check of a share of the record"),
    JobKind("backfill", Lane.BACKFILL, "backfill of the history"),
    JobKind("holes", Lane.BACKFILL, "search for holes of the history"),
    JobKind("providers", Lane.PROVIDERS, "prices, fees and sentiment of providers"),
    JobKind("providers_all", Lane.PROVIDERS, "all that providers tell"),
)

JOBS: Final[Mapping[str, JobDefinition]] = {job.id: job for kind in KINDS for job in kind.jobs()}
JOB_IDS: Final = tuple(JOBS)
# Lanes without jobs are included.
IDS_BY_LANE: Final[Mapping[str, tuple[str, ...]]] = {
    lane: tuple(job.id for job in JOBS.values() if job.kind.lane is lane) for lane in Lane
}
_PRODUCERS: Final = {
    document: job.id for job in JOBS.values() if not job.is_of_all for document in job.produces
}


def job_definition(job_id: str) -> JobDefinition:
    """The job with this id. Raises ValueError if there is none."""
    try:
        return JOBS[job_id]
    except KeyError:
        raise ValueError(f"unknown job {job_id!r}: the jobs are {', '.join(JOB_IDS)}") from None


def lane_of(job_id: str) -> Lane:
    """The lane that the job runs in. Raises ValueError for an unknown id."""
    return job_definition(job_id).kind.lane


def collect_id(asked: str) -> str:
    """The id of the job that collects what a request names: a timeframe, or `all`. The job of 4h
    produces 8h too."""
    return job_id_of(_COLLECT.name, asked)


def producer_of(document: str) -> str:
    """The id of the job that publishes `document` alone, or with what comes with it.

    Raises ValueError if none does.
    """
    try:
        return _PRODUCERS[document]
    except KeyError:
        raise ValueError(f"no job makes a document {document!r}") from None


def producers_of(document: str, timeframes: Collection[str]) -> tuple[str, ...]:
    """The ids of all jobs that publish `document` when the setting TIMEFRAMES is `timeframes`: its
    own job first, then the job of all timeframes. Raises ValueError if none does. The overview
    follows each run that brings the newest 5m rows."""
    if document == OVERVIEW:
        return collect_id(ALL), collect_id(Timeframe.M5)
    own = producer_of(document)
    of_all = (job for job in JOBS.values() if job.is_of_all)
    return (own, *(job.id for job in of_all if document in job.published(timeframes)))
