"""Pydantic models of requests and answers, except documents; also for the OpenAPI page."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.documents.models import EXAMPLE_MS, CacheState, TimeMs
from job_queue.kinds import ALL, KINDS
from job_queue.records import JobState
from market.markets import Exchange
from market.timeframes import Timeframe

# What a request may name, and what a job answers.
if TYPE_CHECKING:
    AskedTimeframe = str
else:
    AskedTimeframe = Literal[(*map(str, Timeframe), ALL)]


class GetMarketData(BaseModel):
    """A request to collect one timeframe, or all in one pass, now."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"timeframe": "4h"}, {"timeframe": ALL}]}
    )

    timeframe: AskedTimeframe = Field(
        description="8h is made from 4h: a request for 8h collects 4h. all: the timeframes of the"
        " setting TIMEFRAMES"
    )


class JobProgress(BaseModel):
    phase: str = Field(
        description="queued, waiting (for the lease), markets, fetch, merge, publish or done"
    )
    done: int = Field(description="finished tasks of this phase")
    total: int


class JobResult(BaseModel):
    """The numbers of a complete run."""

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


_JOB: Final[dict[str, Any]] = {
    "id": "collect:4h",
    "kind": "collect",
    "timeframe": "4h",
    "produces": ["4h", "8h"],
    "run": 7,
    "state": "queued",
    "coalesced": False,
    "rerun": False,
    "enqueued_at": EXAMPLE_MS,
    "started_at": None,
    "finished_at": None,
    "attempts": 0,
    "progress": {"phase": "queued", "done": 0, "total": 0},
    "error": None,
    "result": None,
    "last": None,
}
_JOB_OF_ALL: Final = _JOB | {
    "id": "collect:all",
    "timeframe": ALL,
    "produces": [*map(str, Timeframe)],
}


class Job(BaseModel):
    """One job; there is at most one per kind and timeframe, and one for all timeframes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB, _JOB_OF_ALL]})

    id: str
    kind: Annotated[str, Field(json_schema_extra={"enum": [kind.name for kind in KINDS]})]
    timeframe: AskedTimeframe | None = Field(
        description="all: the timeframes in `produces`, in one pass; null for other kinds of jobs"
    )
    produces: list[str] = Field(description="the documents it publishes, the finest first")
    run: int = Field(description="the run that answers this request")
    state: JobState
    coalesced: bool = Field(description="it was already queued or active at this request")
    rerun: bool = Field(description="it will be queued again when the active run ends")
    enqueued_at: TimeMs | None
    started_at: TimeMs | None
    finished_at: TimeMs | None
    attempts: int
    progress: JobProgress
    error: str | None
    result: dict[str, Any] | JobResult | None
    last: LastRun | None


class Jobs(BaseModel):
    """Every job of the last 7 days, the newest request first."""

    jobs: list[Job]


class CoinEntry(BaseModel):
    exchange: Exchange
    symbol: str
    base: str
    quote: str
    meta: dict[str, float | None]
    launched_at: int | None = Field(
        default=None, description="of `as_of` alone: when it was launched, if that is known"
    )
    listed_from: int | None = Field(
        default=None, description="of `as_of` alone: the first list of the exchange that had it"
    )
    listed_to: int | None = Field(
        default=None, description="of `as_of` alone: the first that lacked it; null: it is listed"
    )


class Coins(BaseModel):
    """The collected markets, with their metadata for one timeframe; or those listed `as_of`."""

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
                            "meta": {"hurst": 0.53, "entropy": 0.91, "realised_volatility": 0.38},
                        }
                    ],
                }
            ]
        }
    )

    timeframe: Timeframe | None = None
    as_of: int | None = None
    coins: list[CoinEntry]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Home(BaseModel):
    """The service, its version and its links."""

    name: str
    version: str
    summary: str
    links: dict[str, str]


class Ready(BaseModel):
    """Whether each part of the service works."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "degraded",
                    "parts": {
                        "store": "ok",
                        "worker": "ok",
                        "database": "away: refused",
                        "exchanges": "ok",
                    },
                    "caches": {
                        "4h": {
                            "version": EXAMPLE_MS,
                            "as_of": EXAMPLE_MS,
                            "updated_at": EXAMPLE_MS + 60_000,
                            "age_s": 12.5,
                            "bytes": 26_000_000,
                        }
                    },
                }
            ]
        }
    )

    status: Literal["ready", "degraded", "unavailable"]
    parts: dict[str, str] = Field(
        default={}, description="'ok', or what is wrong with it; absent if READ_TOKEN is needed"
    )
    caches: dict[str, CacheState | None] = Field(
        default={}, description="null: nothing collected yet; absent as `parts`"
    )
    history_lag_s: float | None = Field(
        default=None, description="how far the replica of HISTORY_DATABASE_URL is behind, if set"
    )
    detail: str | None = Field(default=None, description="with 503: the parts that are down")


class Problem(BaseModel):
    """Why a request failed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "what is wrong"}]})

    detail: str


class InvalidInput(BaseModel):
    type: str
    loc: list[str | int]
    msg: str


class InvalidRequest(BaseModel):
    """The errors in a request's parameters or body."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "detail": [
                        {
                            "type": "integer",
                            "loc": ["query", "limit"],
                            "msg": "must be an integer of at least 1 and at most 9999999999999999",
                        }
                    ]
                }
            ]
        }
    )

    detail: list[InvalidInput]
