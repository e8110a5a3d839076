"""WorkerDefinition: what code says of a worker; checked when it is made, with file and line."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel

from addresses.setting_types import check_queue

Kind = Literal["schedule", "websocket"]
OnMissed = Literal["one", "skip"]
Function = Callable[[Any], Awaitable[object] | object]  # of a workers.context.Context
DEFAULT_QUEUE: Final = "default"
ANY_EGRESS: Final = "any"
LONGEST_TIMEOUT_S: Final = 86_400.0
MOST_ATTEMPTS: Final = 100


class WrongWorkers(Exception):
    """Workers cannot be used as they are declared; `lines` has one line for each mistake, which
    begins with file and line of the declaration."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDefinition:
    """A worker as its code declares it; an operator's overrides are laid over it in the table.

    A schedule has `cron` (five fields, in `tz`) or `every_s` (aligned to the epoch, plus
    `offset_s`), or neither: then it runs only when it is asked to. `tz` None: SCHEDULE_TZ.
    `queue`: which hosts may run it; `egress`: `any`, or the EGRESS_ID of the hosts that may.
    `refreshes`: the ids of jobs that it asks for; with some, its kind is `refresh`, and it goes on
    while PostgreSQL is away. `config`: the pydantic model of its configuration. `place`: file:line
    of its declaration. `listed`: False for parts of other work, which no schedule fires and no
    list shows.
    """

    name: str
    kind: Kind
    function: Function
    place: str
    origin: Literal["code", "user"] = "user"
    cron: str | None = None
    every_s: int | None = None
    offset_s: int = 0
    tz: str | None = None
    queue: str = DEFAULT_QUEUE
    egress: str = ANY_EGRESS
    timeout_s: float = 300.0
    max_attempts: int = 3
    on_missed: OnMissed = "one"
    enabled: bool = True
    refreshes: tuple[str, ...] = ()
    config: type[BaseModel] | None = None
    url: str | None = None  # of a WebSocket worker
    databases: tuple[str, ...] = ()
    description: str = ""
    listed: bool = True
    options: dict[str, Any] = field(default_factory=dict)  # of a WebSocket worker: its deadlines

    def __post_init__(self) -> None:
        check_queue(self.queue)
