"""Pydantic models of GET /status, for the OpenAPI page."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.collectors.models import ACTUAL_EXAMPLE, CollectorActual
from api.documents.models import EXAMPLE_MS, TimeMs
from job_queue.records import JobState
from status.problem import ProblemKind, Severity

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(description="seconds")]
_EXAMPLE: Final[dict[str, Any]] = {
    "at": EXAMPLE_MS + 305_000,
    "version": "0.1.0",
    "status": "ready",
    "parts": {
        "store": "ok",
        "worker": "ok",
        "database": "ok",
        "exchanges": "ok",
        "history": "ok",
    },
    "problems": [
        {
            "id": "exchange_paused:bybit",
            "kind": "exchange_paused",
            "subject": "bybit",
            "severity": "warning",
            "text": "bybit is paused for 290 s more, until 2026-11-28T12:10:00Z: Too many visits",
            "todo": "Wait, or lift it with DELETE /exchanges/bybit/pause (python main.py unpause"
            " bybit) if its cause is gone.",
            "since": EXAMPLE_MS + 300_000,
        }
    ],
    "documents": {
        "5m": {
            "version": EXAMPLE_MS + 300_000,
            "as_of": EXAMPLE_MS + 300_000,
            "updated_at": EXAMPLE_MS + 302_900,
            "age_s": 2.1,
            "bytes": 9_000_000,
            "json_bytes": 52_000_000,
            "markets": 948,
            "stale": 0,
            "missing": 2,
            "is_stored": True,
        },
        "1d": None,
    },
    "exchanges": {
        "binance": {
            "list": {
                "discovered_at": EXAMPLE_MS - 3_600_000,
                "markets": 450,
                "enabled": 448,
                "failures": 0,
            },
            "pause": None,
            "is_live": True,
            "feed": {
                "holder": "host-1:4711",
                "at": EXAMPLE_MS + 304_000,
                "clock_offset_ms": 12,
                "connections": 1,
                "streams": 448,
                "markets": 448,
                "messages_per_s": 361.4,
                "lag_ms": {"p50": 620, "p99": 1840},
                "unproven": {"silent": 3},
                "reconnects": {"age": 1},
                "last_failure": None,
                "refused": 0,
                "log_restarts": 0,
                "last_close": {
                    "close": EXAMPLE_MS + 300_000,
                    "without_soon": 4,
                    "without": None,
                    "silent": 0,
                },
            },
            "closing": {
                "close": EXAMPLE_MS + 300_000,
                "as_of": EXAMPLE_MS + 300_400,
                "finished_at": EXAMPLE_MS + 303_100,
                "stream": 445,
                "rest": 3,
                "lacking": 0,
                "taken": 441,
                "repaired": 3,
                "sampled": 4,
                "compared": 51_300,
                "differing": 0,
            },
        }
    },
    "collectors": [
        {
            "name": "majors",
            "exchange": "binance",
            "data_types": ["ticker", "candle"],
            "symbols": 3,
            "enabled": True,
            "running": True,
            "actual": ACTUAL_EXAMPLE,
        }
    ],
    "jobs": [
        {
            "id": "collect:all",
            "state": "complete",
            "phase": "done",
            "done": 1,
            "total": 1,
            "enqueued_at": EXAMPLE_MS + 300_200,
            "started_at": EXAMPLE_MS + 300_300,
            "last": {
                "run": 7,
                "state": "complete",
                "as_of": EXAMPLE_MS + 300_400,
                "finished_at": EXAMPLE_MS + 303_100,
                "error": None,
            },
        }
    ],
    "history": {
        "is_kept": True,
        "waiting": 1,
        "bytes": 112_000,
        "behind_s": 2.1,
        "recorded_at": EXAMPLE_MS + 2_800,
        "cut": 0,
        "cut_at": None,
        "gaps": 1,
        "last_gap": {
            "document": "5m",
            "since": EXAMPLE_MS - 86_400_000,
            "until": EXAMPLE_MS - 86_040_000,
        },
    },
    "leases": {"worker": {"holder": "host-1:4709", "left_s": 12.4}},
    "stores": {
        "hot": {"kind": "native", "state": "ok"},
        "cold": {"kind": "postgresql", "state": "ok"},
    },
    "processes": {"workers": ["host-1:4709"], "live": ["host-1:4711"], "api": ["api-1"]},
}


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
    missing: Count | None = Field(description="entries of `missing`; null as markets")
    is_stored: bool = Field(description="false: its value is gone, copies in memory are served")


class ListStatus(BaseModel):
    """An exchange's list of markets, as the database has it."""

    discovered_at: TimeMs | None = Field(description="null: never")
    markets: Count
    enabled: Count
    failures: Count = Field(description="how often in a row it could not be read")


class Pause(BaseModel):
    """The exchange is asked for nothing from the address EGRESS_ID."""

    left_s: Seconds
    cause: str


class Lags(BaseModel):
    """How late the newest closing events came after their close; null: none has come."""

    p50: int | None = Field(description="milliseconds")
    p99: int | None = Field(description="milliseconds")


class LastCloseStatus(BaseModel):
    """The newest close of a 5m candle, counted in markets."""

    close: TimeMs
    without_soon: Count | None = Field(description="without a closing event 2.5 s after the close")
    without: Count | None = Field(description="without one after the grace; null: not over yet")
    silent: Count = Field(description="those of `without` of which no message came at all")


class FeedStatus(BaseModel):
    """The streams of an exchange, as told by the process that feeds them."""

    holder: str = Field(description="the process that holds the exchange's lease")
    at: TimeMs = Field(description="when it told this, by the exchange's clock")
    clock_offset_ms: int = Field(description="how far that clock is ahead of the process's machine")
    connections: Count
    streams: Count = Field(description="acknowledged by the exchange")
    markets: Count = Field(description="followed")
    messages_per_s: float
    lag_ms: Lags
    unproven: dict[str, Count] = Field(
        description="markets whose candles need REST, by reason; silent is normal"
    )
    reconnects: dict[str, Count] = Field(
        description="connections that ended since the feed began, by reason"
    )
    last_failure: str | None
    refused: Count = Field(description="streams that the exchange does not have")
    log_restarts: Count = Field(description="how often the log of candles began anew")
    last_close: LastCloseStatus | None


class ClosingStatus(BaseModel):
    """The closing journal of the last complete pass over all timeframes: by which way the newest
    closed 5m candles came, counted in markets."""

    close: TimeMs = Field(description="of the newest candle that had closed at `as_of`")
    as_of: TimeMs = Field(description="the exchanges' time when the pass began to read")
    finished_at: TimeMs = Field(description="when all documents were published")
    stream: Count = Field(description="closed by the exchange's stream, and proven")
    rest: Count
    lacking: Count = Field(description="not known, or the exchange has none")
    taken: Count = Field(description="needed no request for candles")
    repaired: Count = Field(description="asked for although the exchange was fed")
    sampled: Count = Field(description="asked for to compare streams with REST")
    compared: Count = Field(description="candles compared with REST since the worker began")
    differing: Count = Field(description="those of them that differed")


class ExchangeStatus(BaseModel):
    """What is known of one exchange."""

    list: ListStatus | None = Field(description="null while the database is away")
    pause: Pause | None
    is_live: bool = Field(description="whether LIVE has its streams fed")
    feed: FeedStatus | None = Field(description="null while no process feeds it")
    closing: ClosingStatus | None = Field(
        description="null without LIVE, or while no pass has completed"
    )


class CollectorStatus(BaseModel):
    """A live collector of COLLECTORS; GET /api/collectors/{name} has all of it."""

    name: str
    exchange: str
    data_types: list[str]
    symbols: Count
    enabled: bool
    running: bool = Field(description="whether it is to run: enabled, and not stopped")
    actual: CollectorActual | None = Field(description="null: no process runs or holds it")


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


class LeaseStatus(BaseModel):
    """Who works a lane now."""

    holder: str
    left_s: Seconds | None = Field(description="until it expires unless it is renewed; null: never")


class HotStatus(BaseModel):
    kind: Literal["native", "upstash"]
    state: str = Field(description="ok, or what is wrong with it")


class ColdStatus(BaseModel):
    kind: Literal["postgresql"]
    state: str = Field(description="ok, or what is wrong with it")


class Stores(BaseModel):
    hot: HotStatus
    cold: ColdStatus


class Processes(BaseModel):
    """The processes whose heartbeat counts, by host and process id; `api` by name, those of this
    host alone."""

    workers: list[str]
    live: list[str]
    api: list[str]


class Status(BaseModel):
    """All that is known of the service, as of one instant of the hot store."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

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
    jobs: list[JobStatus] = Field(description="the newest request first")
    history: HistoryStatus | None = Field(description="null while the hot store is away")
    leases: dict[str, LeaseStatus] = Field(description="by lane")
    stores: Stores
    processes: Processes
