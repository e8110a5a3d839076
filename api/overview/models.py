"""Pydantic models of GET /status, for the OpenAPI page."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.collectors.models import CollectorActual
from api.documents.models import TimeMs
from api.overview.example import EXAMPLE
from api.overview.exchange_models import Count, ExchangeStatus, Seconds
from job_queue.records import JobState
from status.problem import ProblemKind, Severity


class ProblemStatus(BaseModel):
    """One thing that is wrong."""

    id: str = Field(description="kind and subject, the same for as long as it lasts")
    kind: str = Field(json_schema_extra={"enum": [*ProblemKind]})
    subject: str = Field(description="what it is about: an exchange, a document, a job, a chain")
    severity: str = Field(
        description="critical: data is not served, or is wrong or old",
        json_schema_extra={"enum": [*Severity]},
    )
    text: str = Field(description="what is wrong, with the value and the limit")
    todo: str = Field(description="what the operator can do")
    since: TimeMs | None = Field(description="null: not known yet")


class DocumentStatus(BaseModel):
    """A document's version, age and contents."""

    version: int
    as_of: TimeMs
    updated_at: TimeMs
    age_s: Seconds
    bytes: Count = Field(description="size in the store, as base64")
    json_bytes: Count
    markets: Count | None = Field(description="null: an earlier release has published it")
    stale: Count | None = Field(description="markets whose rows are carried over; null as markets")
    missing: Count | None = Field(
        description="entries of `missing`, of the overview markets that are left out; null as"
        " markets"
    )
    at: TimeMs | None = Field(
        description="of the overview, the instant of which it tells; null: another document"
    )
    assets: Count | None = Field(description="of the overview; null: another document")
    is_stored: bool = Field(description="false: its value is gone, copies in memory are served")


class CollectorStatus(BaseModel):
    """A live collector of COLLECTORS; GET /api/collectors/{name} has all of it."""

    name: str
    exchange: str
    data_types: list[str]
    symbols: Count
    enabled: bool
    running: bool = Field(description="whether it is to run: enabled, and not stopped")
    actual: CollectorActual | None = Field(description="null: no process runs or holds it")


class ScheduleRun(BaseModel):
    """The newest run of a schedule."""

    state: str = Field(description="queued, running, complete, failed or aborted")
    slot: TimeMs = Field(description="the instant that it stands for")
    started_at: TimeMs | None = Field(description="null: it waits")
    finished_at: TimeMs | None = Field(description="null: it has not ended")
    host: str | None = Field(description="who runs it; null: nobody yet")


class ScheduleStatus(BaseModel):
    """What runs when; GET /api/workers/{name} has all of it."""

    name: str
    cron: str | None = Field(description="five fields, in the zone tz; null: it has every_s")
    every_s: int | None = Field(description="null: it has cron")
    tz: str
    enabled: bool
    next_run: TimeMs | None = Field(description="null: never, as it is disabled")
    last_run: ScheduleRun | None = Field(description="null: it has not run yet")
    failures: Count = Field(description="runs in a row that failed, at most 20")
    error: str | None = Field(description="of the last run, if that failed")


class OutMember(BaseModel):
    """A resource that is not asked now."""

    resource: str
    why: str = Field(description="open or half_open, its breaker; or the error for which it is out")
    until: TimeMs | None = Field(description="null: not known")


class ChainStatus(BaseModel):
    """A chain of providers; counts since they began to be counted."""

    serves: str | None = Field(description="who is asked first; null: nobody can be asked now")
    members: Count = Field(description="those that are switched on and have the key they need")
    out: list[OutMember] = Field(description="those of them that are not asked now")
    off: Count = Field(description="members that are switched off")
    no_key: Count = Field(description="members that lack a key")
    asked: Count = Field(description="questions")
    fallbacks: Count = Field(description="questions that another answered than should have")
    unanswered: Count = Field(description="questions that nobody answered")
    dead_since: TimeMs | None = Field(
        description="since when nobody has answered; null: the last question was answered"
    )


class LastRunStatus(BaseModel):
    run: int
    state: str
    as_of: TimeMs | None
    finished_at: TimeMs
    error: str | None


class JobStatus(BaseModel):
    """A job and its last run; GET /jobs has the results."""

    id: str
    state: JobState
    phase: str
    done: int
    total: int
    enqueued_at: TimeMs | None
    started_at: TimeMs | None
    last: LastRunStatus | None


class GapStatus(BaseModel):
    """Versions of a document that were not recorded one by one: what they changed counts as known
    since the end of the gap."""

    document: str
    since: TimeMs = Field(description="`updated_at` of the last version before")
    until: TimeMs | None = Field(
        description="`updated_at` of the version that filled in; null: none was there"
    )


class HistoryStatus(BaseModel):
    """The record of what was published: what waits in the hot store for the database."""

    is_kept: bool = Field(description="the setting HISTORY")
    waiting: Count = Field(description="publishes that are to be recorded")
    bytes: Count = Field(description="what they take in the hot store, of JOURNAL_BYTES")
    behind_s: Seconds = Field(description="since the oldest of them; 0: none waits")
    recorded_at: TimeMs | None = Field(description="`updated_at` of what was recorded last")
    cut: Count = Field(description="publishes that found no room, ever")
    cut_at: TimeMs | None
    gaps: Count = Field(description="gaps in the record, ever")
    last_gap: GapStatus | None
    corrections_today: Count = Field(
        description="recorded values that the exchanges have corrected or removed, this day (UTC)"
    )
    cursor_lag_s: Seconds | None = Field(
        description="by how much what is recorded is older than the documents, of the worst one; "
        "asked every 10 s; null while the database is away, or not known yet"
    )
    rows: Count | None = Field(
        description="values in the record, estimated from a sample of its pages each minute; null "
        "while the database is away, or not known yet"
    )
    stored_bytes: Count | None = Field(description="of its tables and indexes; null as rows")
    holes: dict[str, Count] | None = Field(description="noted holes by state; null as rows")


class LeaseStatus(BaseModel):
    """Who works a lane now."""

    holder: str
    left_s: Seconds | None = Field(description="until it expires unless it is renewed; null: never")


class MemoryStatus(BaseModel):
    """In bytes."""

    used: Count
    most: Count | None = Field(description="its maxmemory; null: no limit is set")
    policy: str = Field(description="its maxmemory-policy; should be noeviction")


class HotStatus(BaseModel):
    kind: Literal["native", "upstash"]
    state: str = Field(description="ok, or what is wrong with it")
    memory: MemoryStatus | None = Field(description="null: it is away, or does not tell")


class ColdStatus(BaseModel):
    kind: Literal["postgresql"]
    state: str = Field(description="ok, or what is wrong with it")
    bytes: Count | None = Field(
        description="the size of the database, asked each minute; null: away, or not known yet"
    )


class DiskStatus(BaseModel):
    """Of DATA_DIR, on the host of the process that answers; in bytes."""

    free: Count
    total: Count
    limit: Count = Field(description="the setting DISK_FREE_MIN")


class Stores(BaseModel):
    hot: HotStatus
    cold: ColdStatus
    disk: DiskStatus | None = Field(description="null: the system does not tell")


class Processes(BaseModel):
    """The processes whose heartbeat counts, by host and process id; `api` by name, those of this
    host alone."""

    workers: list[str]
    live: list[str]
    api: list[str]


class Status(BaseModel):
    """All that is known of the service, as of one instant of the hot store."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    at: TimeMs
    version: str
    status: Literal["ready", "degraded", "unavailable"] = Field(description="as of GET /ready")
    parts: dict[str, str] = Field(description="ok, or what is wrong with it")
    problems: list[ProblemStatus] = Field(description="all that is wrong, the worst first")
    documents: dict[str, DocumentStatus | None] = Field(
        description="null: nothing collected yet; empty while the hot store is away"
    )
    exchanges: dict[str, ExchangeStatus]
    collectors: list[CollectorStatus] | None = Field(
        description="null while the database is away, which says what is wanted of them"
    )
    schedules: list[ScheduleStatus] | None = Field(
        description="asked every 3 s; null while the database is away"
    )
    providers: dict[str, ChainStatus] | None = Field(
        description="by chain; null with PROVIDERS=off, or while the hot store is away"
    )
    jobs: list[JobStatus] = Field(description="the newest request first")
    history: HistoryStatus | None = Field(description="null while the hot store is away")
    leases: dict[str, LeaseStatus] = Field(description="by lane")
    stores: Stores
    processes: Processes
