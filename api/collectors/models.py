"""Pydantic models of collectors and their states, for the OpenAPI page."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from api.documents.models import EXAMPLE_MS, TimeMs

_DESIRED: Final[dict[str, Any]] = {
    "name": "majors",
    "exchange": "binance",
    "data_types": ["ticker", "candle"],
    "timeframes": ["1m"],
    "book_depth": None,
    "outputs": ["redis"],
    "symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"],
    "enabled": True,
    "running": True,
    "restarts": 1,
    "changed_at": EXAMPLE_MS,
    "file": {
        "modified_at": EXAMPLE_MS - 86_400_000,
        "enabled": True,
        "symbols": ["BTC-USDT", "ETH-USDT"],
    },
}
ACTUAL_EXAMPLE: Final[dict[str, Any]] = {
    "holder": "host-1:4711",
    "since": EXAMPLE_MS - 3_600_000,
    "at": EXAMPLE_MS + 2_000,
    "status": "running",
    "is_healthy": True,
    "issues": [],
    "error": None,
    "restarts": 1,
}
_WHOLE: Final[dict[str, Any]] = {
    "collector": {
        "exchange": "binance",
        "status": "running",
        "should_be_running": True,
        "symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"],
        "statistics": {"messages_processed": 1248, "errors": 0, "restarts": 0},
    },
    "health": {"is_healthy": True, "issues": [], "status": "running", "is_running": True},
    "manager": {"restarts": 1, "errors": 0, "last_error": None},
    "outputs": {"redis": {"queued": 0, "sent": 1248, "dropped": 0, "errors": 0}},
}


class CollectorInFile(BaseModel):
    """What the file of COLLECTORS says that can be changed over HTTP."""

    modified_at: TimeMs
    enabled: bool
    symbols: list[str]


class Desired(BaseModel):
    """What is wanted of a collector, by its file and by what was asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DESIRED]})

    name: str
    exchange: str
    data_types: list[str]
    timeframes: list[str] = Field(description="of candles; empty without them")
    book_depth: int | None = Field(description="levels of each side; null without order books")
    outputs: list[str]
    symbols: list[str] = Field(description="those of the file, without removed and with added ones")
    enabled: bool = Field(description="whether it may run: false until it is enabled")
    running: bool = Field(description="whether it is to run: enabled, and not stopped")
    restarts: int = Field(description="how often a restart was asked for")
    changed_at: TimeMs | None = Field(description="the last change over HTTP; null: none ever")
    file: CollectorInFile


class CollectorActual(BaseModel):
    """What a collector does, told by the process that runs it."""

    holder: str = Field(description="the process: host and process id")
    since: TimeMs = Field(description="since when this process has it")
    at: TimeMs = Field(description="when this was told")
    status: str = Field(
        description="stopped, starting, running, reconnecting, unhealthy, error or stopping"
    )
    is_healthy: bool
    issues: list[str]
    error: str | None = Field(description="why the process cannot make the collector")
    restarts: int = Field(description="the number of the last restart that was begun")


class CollectorWhole(CollectorActual):
    """All that the process tells."""

    collector: dict[str, Any] | None = Field(description="get_status() of the collector")
    health: dict[str, Any] | None = Field(description="get_health_status() of the collector")
    manager: dict[str, Any] | None = Field(description="restarts and errors of its manager")
    outputs: dict[str, dict[str, Any]] = Field(
        description="the outputs, which all collectors of the process share"
    )


class CollectorEntry(BaseModel):
    name: str
    desired: Desired
    actual: CollectorActual | None = Field(description="null: no process runs or holds it")


class Collectors(BaseModel):
    """All collectors that a file names, by name."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"collectors": [{"name": "majors", "desired": _DESIRED, "actual": ACTUAL_EXAMPLE}]}
            ]
        }
    )

    collectors: list[CollectorEntry]


class OneCollector(BaseModel):
    """One collector: what is wanted of it, and all that is known of what it does."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "majors", "desired": _DESIRED, "actual": ACTUAL_EXAMPLE | _WHOLE}]
        }
    )

    name: str
    desired: Desired
    actual: CollectorWhole | None = Field(description="null: no process runs or holds it")
