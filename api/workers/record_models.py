"""Pydantic models of what is recorded of runs: their log, what was collected, and what failed."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.documents.models import EXAMPLE_MS, TimeMs

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
COLLECTION_STATES: Final = ("complete", "failed")

_LINE: Final[dict[str, Any]] = {
    "id": 90210,
    "at": EXAMPLE_MS + 60_031,
    "worker": "fund_values",
    "run": 4711,
    "host": "host-1:4711",
    "level": "info",
    "event": "saved",
    "fields": {"rows": 12},
}
_COLLECTION: Final[dict[str, Any]] = {
    "id": 17,
    "kind": "collect",
    "subject": "collect:5m",
    "run": 311,
    "worker_run": 4711,
    "started_at": EXAMPLE_MS + 60_100,
    "finished_at": EXAMPLE_MS + 62_700,
    "state": "complete",
    "records": 1840,
    "requests": 960,
    "host": "host-1:4711",
    "details": {"missing": 0},
}
_FAILURE: Final[dict[str, Any]] = {
    "id": 5,
    "at": EXAMPLE_MS + 61_000,
    "source": "binance",
    "subject": "collect:5m",
    "market": "binance:BTCUSDT",
    "cause": "HTTP 503 from /fapi/v1/klines",
    "count": 2,
}


class LogLine(BaseModel):
    """One line that a run has logged."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LINE]})

    id: int
    at: TimeMs
    worker: str
    run: int | None = Field(description="null: of the worker, outside any run")
    host: str
    level: str
    event: str
    fields: dict[str, Any]


class LogLines(BaseModel):
    """Lines of the log, the oldest first, or with `newest` the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lines": [_LINE], "next": None}]})

    lines: list[LogLine]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")


class DataCollection(BaseModel):
    """One run of a job that collects something."""

    id: int
    kind: str = Field(description="of the job: collect, funding, ...")
    subject: str = Field(description="the job's id")
    run: int = Field(description="the job's run")
    worker_run: int | None = Field(description="the run of a worker that asked for it")
    started_at: TimeMs
    finished_at: TimeMs
    state: Literal["complete", "failed"]
    records: int = Field(description="rows that were saved")
    requests: int
    host: str
    details: dict[str, Any]


class DataCollections(BaseModel):
    """What was collected, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"collections": [_COLLECTION], "next": None}]}
    )

    collections: list[DataCollection]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")


class Failure(BaseModel):
    """One failure, or several of the same kind in one run."""

    id: int
    at: TimeMs
    source: str = Field(description="an exchange, a provider, a worker or a store")
    subject: str = Field(description="the job, worker or endpoint")
    market: str | None = Field(description="exchange:SYMBOL, where it is one market's")
    cause: str
    count: int


class Failures(BaseModel):
    """What failed, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"failures": [_FAILURE], "next": None}]}
    )

    failures: list[Failure]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")
