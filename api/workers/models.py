"""Pydantic models of workers and of what is changed of them, for requests and the OpenAPI page."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

from api.documents.models import EXAMPLE_MS, TimeMs
from workers.definition import LONGEST_TIMEOUT_S, MOST_ATTEMPTS

LONGEST_TEXT: Final = 200
LONGEST_PERIOD_S: Final = 366 * 86_400
_MINUTES_MS: Final = 60_000
_LARGEST: Final = 2.0**53  # beyond it a float tells no integer exactly

_LIVE: Final[dict[str, Any]] = {
    "state": "complete",
    "run": 4711,
    "started_at": EXAMPLE_MS + _MINUTES_MS,
    "last_result": {"rows": 1840},
    "last_error": None,
    "host": "host-1:4711",
    "connection": None,
}
_WORKER: Final[dict[str, Any]] = {
    "name": "ui_data",
    "kind": "schedule",
    "origin": "code",
    "description": "What users look at: the timeframes of UI_TIMEFRAMES",
    "cron": None,
    "every_s": 300,
    "offset_s": 60,
    "tz": "UTC",
    "queue": "default",
    "egress": "any",
    "timeout_s": 240.0,
    "max_attempts": 3,
    "on_missed": "one",
    "enabled": True,
    "next_run_at": EXAMPLE_MS + 6 * _MINUTES_MS,
    "refreshes": ["collect:5m", "collect:15m", "collect:1h"],
    "overridden": ["offset_s"],
    "changed_at": EXAMPLE_MS,
    "changed_by": "api",
    "live": _LIVE,
}
_NEXT: Final = [EXAMPLE_MS + _MINUTES_MS * (6 + 5 * number) for number in range(5)]
VALUE_EXAMPLE: Final[dict[str, Any]] = {
    "key": "url",
    "value": "https://example.org/funds",
    "level": "own",
    "secret": False,
    "required": True,
    "problem": None,
    "environment": ["FUND_VALUES_URL", "WORKER_CONFIG_URL"],
    "changed_at": EXAMPLE_MS,
    "changed_by": "api",
}


def whole(value: object) -> int:
    """5.0 is an integer in JSON, too; true and "5" are none."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be an integer")


def _described(pattern: str) -> Any:
    """A field whose pattern is told, not checked here: control says what is wrong with a value."""
    return Field("", min_length=1, max_length=LONGEST_TEXT, json_schema_extra={"pattern": pattern})


class Connection(BaseModel):
    """What the process that holds a WebSocket worker tells of its connection."""

    model_config = ConfigDict(extra="allow")


class WorkerLive(BaseModel):
    """What the hot store tells of a worker."""

    state: str | None = Field(description="of the last run, or of the WebSocket worker")
    run: int | None = Field(description="the last run's id")
    started_at: TimeMs | None
    last_result: Any = Field(description="what the last complete run has returned")
    last_error: str | None
    host: str | None = Field(description="that runs it, or did last")
    connection: Connection | None = Field(description="of a WebSocket worker that some host holds")


class Worker(BaseModel):
    """A worker: what its code says, with what an operator has changed of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WORKER]})

    name: str
    kind: Literal["schedule", "websocket"]
    origin: Literal["code", "user"] = Field(
        description="code: it comes with Perpcache; user: of a module that WORKERS names"
    )
    description: str
    cron: str | None = Field(description="five fields, in the zone `tz`")
    every_s: int | None = Field(description="seconds, aligned to the epoch")
    offset_s: int = Field(description="seconds after what every_s says")
    tz: str
    queue: str = Field(description="hosts that serve it run the worker")
    egress: str = Field(description="any, or the EGRESS_ID of the hosts that may run it")
    timeout_s: float
    max_attempts: int
    on_missed: Literal["one", "skip"] = Field(
        description="firings that were missed become one, or none"
    )
    enabled: bool
    next_run_at: TimeMs | None = Field(description="null: never, or not a schedule")
    refreshes: list[str] = Field(description="the jobs that it asks for")
    overridden: list[str] = Field(description="the fields that an operator has set")
    changed_at: TimeMs
    changed_by: str
    live: WorkerLive | None = Field(description="null: the hot store knows nothing of it")


class Workers(BaseModel):
    """All workers, by name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"workers": [_WORKER], "hot_store": "ok"}]}
    )

    workers: list[Worker]
    hot_store: str = Field(description="ok, or why `live` is unknown")


class ConfiguredValue(BaseModel):
    """One value of a worker's configuration."""

    model_config = ConfigDict(json_schema_extra={"examples": [VALUE_EXAMPLE]})

    key: str
    value: Any = Field(description="`***` for a secret one")
    level: str = Field(
        description="which level gave it: own, shared, environment, default; or missing. The"
        " environment is that of the API's process"
    )
    secret: bool
    required: bool
    problem: str | None = Field(description="why runs will not take the value")
    environment: list[str] = Field(description="the variables that may give it")
    changed_at: TimeMs | None = Field(description="when its row was set; null without one")
    changed_by: str | None


class OneWorker(Worker):
    """A worker with its configuration and its next firings."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _WORKER
                | {
                    "place": "plugins/funds.py:12",
                    "declared": {"every_s": 300, "offset_s": 0},
                    "url": None,
                    "databases": ["main"],
                    "next_runs": _NEXT,
                    "configuration": [VALUE_EXAMPLE],
                    "hot_store": "ok",
                }
            ]
        }
    )

    place: str = Field(description="file and line of its declaration")
    declared: dict[str, Any] = Field(description="what its code says of the fields above")
    url: str | None = Field(description="of a WebSocket worker")
    databases: list[str]
    next_runs: list[TimeMs] = Field(description="the next five firings")
    configuration: list[ConfiguredValue]
    hot_store: str = Field(description="ok, or why `live` is unknown")


class ChangedWorker(Worker):
    """A worker after a change, with its next five firings."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_WORKER | {"next_runs": _NEXT, "hot_store": "ok"}]}
    )

    next_runs: list[TimeMs] = Field(description="the next five firings")
    hot_store: str = Field(description="ok, or why `live` is unknown")


class ChangeWorker(BaseModel):
    """What is to be changed of a worker; what is left out stays. One of cron and every_s may be
    set, which ends the other."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"every_s": 600, "offset_s": 60}, {"cron": "0 15 * * 1-5", "tz": "UTC"}],
        },
    )

    # Without what is unset: these defaults are never used.
    cron: StrictStr | None = Field(None, min_length=1, max_length=LONGEST_TEXT)
    every_s: Annotated[int, Field(ge=1, le=LONGEST_PERIOD_S), BeforeValidator(whole)] | None = None
    offset_s: Annotated[int, Field(ge=0, le=LONGEST_PERIOD_S), BeforeValidator(whole)] = 0
    tz: StrictStr = Field("", min_length=1, max_length=LONGEST_TEXT)
    queue: StrictStr = _described("^[a-z0-9][a-z0-9._:-]{0,63}$")
    egress: StrictStr = _described("^[A-Za-z0-9._-]{1,64}$")
    timeout_s: float = Field(1.0, gt=0, le=LONGEST_TIMEOUT_S, strict=True)
    max_attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS), BeforeValidator(whole)] = 1
    on_missed: Literal["one", "skip"] = "one"
    enabled: StrictBool = True


_PUBLISHED: Final[dict[str, Any]] = {
    "id": f"{EXAMPLE_MS}-0",
    "token": 3,
    "number": 1840,
    "at": EXAMPLE_MS,
    "age_s": 0.412,
    "value": {"symbol": "BTCUSDT", "price": "91250.10"},
}


class PublishedValue(BaseModel):
    """A value that a WebSocket worker has published."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PUBLISHED]})

    id: str = Field(description="in the order of publishing")
    token: int = Field(description="counts the holdings of the worker, by one process at a time")
    number: int = Field(description="counts the values of one holding, from 1")
    at: TimeMs = Field(description="when it was published, by the hot store's clock")
    age_s: float = Field(description="how long ago that was when this was read")
    value: Any


class PublishedValues(BaseModel):
    """What a worker has published."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "worker": "prices",
                    "latest": _PUBLISHED,
                    "values": [_PUBLISHED],
                    "next": _PUBLISHED["id"],
                }
            ]
        }
    )

    worker: str
    latest: PublishedValue | None = Field(description="null: nothing within a day")
    values: list[PublishedValue] = Field(description="the oldest first")
    next: str | None = Field(description="the `after` that continues here; null: nothing was found")


_RUN: Final[dict[str, Any]] = {
    "id": 4711,
    "worker": "ui_data",
    "slot": EXAMPLE_MS + _MINUTES_MS,
    "why": "schedule",
    "state": "complete",
    "queue": "default",
    "input": None,
    "attempts": 1,
    "host": "host-1:4711",
    "egress": "default",
    "queued_at": EXAMPLE_MS + _MINUTES_MS + 4,
    "started_at": EXAMPLE_MS + _MINUTES_MS + 30,
    "finished_at": EXAMPLE_MS + _MINUTES_MS + 2_800,
    "error": None,
    "result": {"rows": 1840},
}


class Run(BaseModel):
    """One run of a worker."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    id: int
    worker: str
    slot: TimeMs = Field(description="the instant that it stands for: due, or asked for")
    why: str = Field(description="schedule, force, retry, or part of other work")
    state: str = Field(description="queued, running, complete, failed, aborted or coalesced")
    queue: str
    input: Any = Field(description="of a part of other work")
    attempts: int
    host: str | None
    egress: str | None
    queued_at: TimeMs
    started_at: TimeMs | None
    finished_at: TimeMs | None
    error: str | None
    result: Any = Field(description="what it has returned")


class AskedRun(Run):
    """A run that was asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN | {"coalesced": False}]})

    coalesced: bool = Field(
        description="it was queued already at this request, which has joined it"
    )


class Runs(BaseModel):
    """Runs, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runs": [_RUN], "next": None}]})

    runs: list[Run]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")
