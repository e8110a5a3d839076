"""Pydantic models of configuration and queues, for requests and the OpenAPI page."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.documents.models import TimeMs
from api.workers.models import VALUE_EXAMPLE, ConfiguredValue, whole
from workers.control import MOST_CONCURRENT

_QUEUE: Final[dict[str, Any]] = {
    "name": "default",
    "concurrency": None,
    "paused": False,
    "paused_until": None,
    "queued": 0,
    "running": 1,
}


class SetValue(BaseModel):
    """The value to set."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"value": "https://example.org/funds"}]}
    )

    value: Any = Field(description="of the type that the worker's code declares")


class SharedValues(BaseModel):
    """The values that all workers share, by key."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"configuration": [VALUE_EXAMPLE | {"level": "shared"}]}]}
    )

    configuration: list[ConfiguredValue]


class DeletedValue(BaseModel):
    """A value that counts no more."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"worker": None, "key": "url", "deleted": True}]}
    )

    worker: str | None = Field(description="null: it was shared")
    key: str
    deleted: bool = Field(description="false: there was none")


class Queue(BaseModel):
    """A queue of runs, over all hosts."""

    model_config = ConfigDict(json_schema_extra={"examples": [_QUEUE]})

    name: str
    concurrency: int | None = Field(description="runs at once over all hosts; null: no limit")
    paused: bool
    paused_until: TimeMs | None = Field(description="null: until it is resumed, if it is paused")
    queued: int
    running: int


class LimitQueue(BaseModel):
    """How many runs of a queue may run at once."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"concurrency": 4}, {"concurrency": None}]}
    )

    concurrency: Annotated[int, Field(ge=1, le=MOST_CONCURRENT), BeforeValidator(whole)] | None = (
        Field(description="over all hosts; null: no limit")
    )


class Queues(BaseModel):
    """All queues, by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"queues": [_QUEUE]}]})

    queues: list[Queue]
