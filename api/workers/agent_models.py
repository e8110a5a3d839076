"""Pydantic models of /api/worker: the agent that feeds the service, as one."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.documents.models import EXAMPLE_MS, TimeMs
from api.workers.models import AskedRun

_SCHEDULE: Final[dict[str, Any]] = {
    "name": "ui_data",
    "enabled": True,
    "cron": None,
    "every_s": 300,
    "offset_s": 60,
    "tz": "UTC",
    "next_run_at": EXAMPLE_MS + 360_000,
    "state": "complete",
    "last_error": None,
}
_STATS: Final[dict[str, Any]] = {
    "ui_collections": 288,
    "historical_collections": 96,
    "total_records_saved": 1_840_000,
    "errors": 1,
    "since": EXAMPLE_MS - 86_400_000,
}


class AgentSchedule(BaseModel):
    """When one part of the agent runs, and how it did last."""

    name: str
    enabled: bool
    cron: str | None
    every_s: int | None
    offset_s: int
    tz: str
    next_run_at: TimeMs | None
    state: str | None = Field(description="of its last run; null: unknown")
    last_error: str | None


class AgentSchedules(BaseModel):
    """The schedules of all workers that have one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"schedules": [_SCHEDULE], "hot_store": "ok"}]}
    )

    schedules: list[AgentSchedule]
    hot_store: str = Field(description="ok, or why `state` is unknown")


class AgentStats(BaseModel):
    """What the agent has done, as far back as runs are kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STATS]})

    ui_collections: int = Field(description="complete runs of ui_data")
    historical_collections: int = Field(description="complete runs of historical_data")
    total_records_saved: int = Field(
        description="rows that all collections have saved, `closes` and POSTs included"
    )
    errors: int = Field(description="failed runs of both")
    since: TimeMs | None = Field(description="the oldest run that is counted; null: none")


class AgentStatus(BaseModel):
    """Whether the agent is running, with what is known of it while a store is away."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "running",
                    "running": ["closes", "historical_data", "ui_data"],
                    "stopped": [],
                    "hosts": ["host-1:4711"],
                    "schedules": [_SCHEDULE],
                    "stats": _STATS,
                    "database": "ok",
                    "hot_store": "ok",
                }
            ]
        }
    )

    status: Literal["running", "partly", "stopped", "off", "unknown"] = Field(
        description="off: SCHEDULES=off; unknown: the database is away"
    )
    running: list[str] = Field(description="which of closes, historical_data and ui_data are on")
    stopped: list[str]
    hosts: list[str] = Field(description="the processes that ran them last")
    schedules: list[AgentSchedule]
    stats: AgentStats | None = Field(description="null while the database is away")
    database: str = Field(description="ok, or why it is away")
    hot_store: str = Field(description="ok, or why it is away")


class AgentHealth(BaseModel):
    """Whether the agent can do its work."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "healthy",
                    "issues": [],
                    "workers_alive": True,
                    "database": "ok",
                    "hot_store": "ok",
                }
            ]
        }
    )

    status: Literal["healthy", "degraded", "unhealthy"]
    issues: list[str]
    workers_alive: bool | None = Field(description="whether any host runs workers; null: unknown")
    database: str
    hot_store: str


class Switched(BaseModel):
    """The agent after it was started or stopped."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "running", "running": ["closes", "historical_data", "ui_data"]}]
        }
    )

    status: Literal["running", "stopped"]
    running: list[str]


class ForcedRounds(BaseModel):
    """The runs that a forced collection has asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "both",
                    "runs": [
                        {
                            "id": 4711,
                            "worker": "ui_data",
                            "slot": EXAMPLE_MS,
                            "why": "force",
                            "state": "queued",
                            "queue": "default",
                            "input": None,
                            "attempts": 0,
                            "host": None,
                            "egress": None,
                            "queued_at": EXAMPLE_MS,
                            "started_at": None,
                            "finished_at": None,
                            "error": None,
                            "result": None,
                            "coalesced": False,
                        }
                    ],
                }
            ]
        }
    )

    type: Literal["ui", "historical", "both"]
    runs: list[AskedRun]
