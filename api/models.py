"""What the HTTP surface takes and returns, as pydantic models; they also make the OpenAPI page."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from job_queue.kinds import KINDS
from job_queue.records import JobState
from market.markets import COLUMNS, FUNDING_COLUMNS, Exchange, MissingPart
from market.timeframes import Timeframe

TimeMs = Annotated[int, Field(description="UTC milliseconds")]
_T = 1_763_726_400_000  # an instant for examples: 2025-11-21 12:00 UTC


class GetMarketData(BaseModel):
    """Asks for one timeframe to be collected now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"timeframe": "4h"}]})

    timeframe: Timeframe = Field(description="8h comes with 4h: asking for it collects 4h")


class JobProgress(BaseModel):
    phase: str = Field(
        description="queued, waiting (for the lease), markets, fetch, merge, publish or done"
    )
    done: int = Field(description="tasks of this phase that are done")
    total: int


class JobResult(BaseModel):
    """What a complete run brought."""

    model_config = ConfigDict(extra="allow")

    markets: int
    rows: int
    missing: int
    carried_over: int
    requests: int
    retries: int
    bytes: int
    duration_ms: int


class LastRun(BaseModel):
    """How the run before this one ended."""

    run: int
    state: str
    as_of: TimeMs | None
    finished_at: TimeMs
    result: dict[str, Any] | None
    error: str | None


class Job(BaseModel):
    """One job; there is at most one per document and kind."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "collect:4h",
                    "kind": "collect",
                    "timeframe": "4h",
                    "produces": ["4h", "8h"],
                    "run": 7,
                    "state": "queued",
                    "coalesced": False,
                    "rerun": False,
                    "enqueued_at": _T,
                    "started_at": None,
                    "finished_at": None,
                    "attempts": 0,
                    "progress": {"phase": "queued", "done": 0, "total": 0},
                    "error": None,
                    "result": None,
                    "last": None,
                }
            ]
        }
    )

    id: str
    kind: Annotated[str, Field(json_schema_extra={"enum": [kind.name for kind in KINDS]})]
    timeframe: Timeframe | None
    produces: list[str] = Field(description="the documents it publishes")
    run: int = Field(description="the run that answers this request")
    state: JobState
    coalesced: bool = Field(description="it was already queued or active when you asked")
    rerun: bool = Field(description="it will be queued anew when the run under way ends")
    enqueued_at: TimeMs | None
    started_at: TimeMs | None
    finished_at: TimeMs | None
    attempts: int
    progress: JobProgress
    error: str | None
    result: dict[str, Any] | JobResult | None
    last: LastRun | None


class Jobs(BaseModel):
    """Every job that was asked for in the last 7 days, the newest first."""

    jobs: list[Job]


class CoinEntry(BaseModel):
    exchange: Exchange
    symbol: str
    base: str
    quote: str
    meta: dict[str, float | None]


class Coins(BaseModel):
    """The markets that are collected, with their metadata for one timeframe."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "timeframe": "4h",
                    "coins": [
                        {
                            "exchange": "binance",
                            "symbol": "BTCUSDT",
                            "base": "BTC",
                            "quote": "USDT",
                            "meta": {"hurst": 0.53, "entropy": 0.91},
                        }
                    ],
                }
            ]
        }
    )

    timeframe: Timeframe
    coins: list[CoinEntry]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class CacheState(BaseModel):
    """One document: which version there is, and how old it is."""

    version: int
    as_of: TimeMs
    updated_at: TimeMs
    age_s: float
    bytes: int = Field(description="as stored, in base64")


class RefreshRequest(BaseModel):
    """The request that makes a newer version."""

    post: str = Field(description="where to POST")
    body: dict[str, str] | None = Field(description="the JSON to send; null: none")


class DocumentEntry(BaseModel):
    name: str
    path: str = Field(description="where to GET it")
    document: CacheState | None = Field(description="null: nothing collected yet")
    refresh: RefreshRequest


class DocumentList(BaseModel):
    """Every document that there can be, collected or not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "documents": [
                        {
                            "name": "4h",
                            "path": "/cache/4h",
                            "document": {
                                "version": _T,
                                "as_of": _T,
                                "updated_at": _T + 60_000,
                                "age_s": 12.5,
                                "bytes": 26_000_000,
                            },
                            "refresh": {"post": "/get-market-data", "body": {"timeframe": "4h"}},
                        }
                    ]
                }
            ]
        }
    )

    documents: list[DocumentEntry]


class Home(BaseModel):
    """What answers here, and where to look next."""

    name: str
    version: str
    summary: str
    links: dict[str, str]


class Ready(BaseModel):
    """Whether the service can do its work, part by part."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "degraded",
                    "parts": {
                        "store": "ok",
                        "worker": "ok",
                        "database": "away: refused",
                        "jobs": "ok",
                    },
                    "caches": {
                        "4h": {
                            "version": _T,
                            "as_of": _T,
                            "updated_at": _T + 60_000,
                            "age_s": 12.5,
                            "bytes": 26_000_000,
                        }
                    },
                }
            ]
        }
    )

    status: Literal["ready", "degraded", "unavailable"]
    parts: dict[str, str] = Field(description="'ok', or what is wrong with it")
    caches: dict[str, CacheState | None] = Field(description="null: nothing collected yet")
    detail: str | None = Field(default=None, description="with 503: what is missing")


class MissingEntry(BaseModel):
    exchange: Exchange
    symbol: str
    part: MissingPart
    reason: str


class MarketEntry(BaseModel):
    """One market of a document; documents of funding have `interval_hours` instead of `meta`."""

    exchange: Exchange
    symbol: str
    base: str
    quote: str
    meta: dict[str, float | None] | None = None
    interval_hours: int | None = Field(default=None, description="in global_fr only")
    checked_at: TimeMs = Field(description="when this market was last fetched with success")
    stale_since: TimeMs | None = Field(
        default=None, description="since when its rows are carried over; not in global_fr"
    )
    rows: list[list[float | None]] = Field(description="one array per row, in order of columns")


class Document(BaseModel):
    """Everything about one timeframe, or the funding of all markets (global_fr)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "timeframe": "4h",
                    "interval_ms": 14_400_000,
                    "version": _T,
                    "as_of": _T,
                    "updated_at": _T + 60_000,
                    "last_closed_open_time": _T - 14_400_000,
                    "source": "collected",
                    "columns": list(COLUMNS),
                    "markets": [
                        {
                            "exchange": "binance",
                            "symbol": "BTCUSDT",
                            "base": "BTC",
                            "quote": "USDT",
                            "meta": {"hurst": 0.53, "entropy": 0.91},
                            "checked_at": _T,
                            "stale_since": None,
                            "rows": [
                                [_T, 86000.1, 86500.0, 85800.0, 86123.4, 5123.5, 441e6, 9e4, 1e-4]
                            ],
                        }
                    ],
                    "missing": [
                        {
                            "exchange": "bybit",
                            "symbol": "XYZUSDT",
                            "part": "open_interest",
                            "reason": "10001 params error",
                        }
                    ],
                }
            ]
        }
    )

    timeframe: str
    interval_ms: int | None
    version: int
    as_of: TimeMs
    updated_at: TimeMs
    last_closed_open_time: TimeMs | None
    source: Literal["collected", "aggregated"]
    columns: list[str] = Field(
        description=f"{', '.join(COLUMNS)}; of global_fr: {', '.join(FUNDING_COLUMNS)}"
    )
    markets: list[MarketEntry]
    missing: list[MissingEntry]


class Problem(BaseModel):
    """Why a request was not carried out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "what is wrong"}]})

    detail: str


class InvalidInput(BaseModel):
    type: str
    loc: list[str | int]
    msg: str


class InvalidRequest(BaseModel):
    """What is wrong with a request's parameters or body."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "detail": [
                        {
                            "type": "integer",
                            "loc": ["query", "limit"],
                            "msg": "must be an integer of at least 1",
                        }
                    ]
                }
            ]
        }
    )

    detail: list[InvalidInput]
