"""A resource: one provider's answer to one kind of question, as a row of the registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Protocol

from providers.questions import Kind, kind_of


class Level(IntEnum):
    """The order in which members of a chain are asked (seed 001)."""

    CRITICAL = 1
    HIGH = 2
    MEDIUM = 3
    LOW = 4
    EMERGENCY = 5


class State(StrEnum):
    ALIVE = "alive"
    OFF = "off"  # not asked until `providers probe` has seen it answer, or it is enabled
    DEAD = "dead"  # kept with its reason, so that nobody adds it again


class KeyPlace(StrEnum):
    """Where a request carries the key."""

    HEADER = "header"
    QUERY = "query"
    PATH = "path"  # {key} in the URL
    BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class LevelTimes:
    """The ceilings of a call by its level, in seconds, and how often it is made at most."""

    connect_s: float
    read_s: float
    total_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `quantity` (of the calls' weights) in `window_s` seconds, by provider and key. Days
    and months (2,592,000 s) begin at midnight UTC."""

    quantity: int
    window_s: int


@dataclass(frozen=True, slots=True)
class KeySlot:
    """`variable`: the environment variable of the key, such as ETHERSCAN_API_KEY. `optional`: it
    answers without a key, too."""

    variable: str
    place: KeyPlace
    name: str | None  # of the header or parameter
    optional: bool


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """The first rule whose conditions all hold says what class an answer is. `path` and `matches`:
    a value of the JSON body (see readers.paths) and a regular expression for it as text; without
    `path`, for the body as text. `error_class` may be `ok`: it is an answer. `until`: `day` or
    `month` (its end, UTC) where it names one: the quota comes back then."""

    error_class: str
    status: tuple[int, ...] = ()
    path: str | None = None
    matches: str | None = None
    unless: str | None = None  # a regular expression that must not match
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """Who is behind resources: what holds for all of them. `limits` are of one address or key."""

    id: str
    name: str
    limits: tuple[Limit, ...]
    attribution: str | None
    attribution_url: str | None
    key: KeySlot | None
    errors: tuple[ErrorRule, ...]
    terms: str | None = None  # what its free plan forbids, in words


@dataclass(frozen=True, slots=True)
class Resource:
    """`id`: `<chain>/<provider>` with an ending where a provider has several in one chain. `url`,
    `headers`, `query` and `body` may hold {placeholders}: {key}, and what the question's kind gives
    (see providers.requests). `via`: the chain that is asked in place of a URL, such as
    `rpc.{chain}`. `reader`: `json` (with `read`: where each field is), or the name of a function in
    providers.readers. `private`: a row of the operator's own file, whose host may have a private
    address."""

    id: str
    chain: str
    provider: Provider
    level: Level
    state: State
    reason: str | None  # of off and dead
    since: str | None  # date of that, ISO
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    via: str | None = None
    key: KeySlot | None = None
    weight: int = 1  # of each of its requests
    ttl_s: float = 60.0
    batch: int = 1  # subjects in one request at most
    hedge: bool = False
    probe: bool = True  # whether a shadow probe may bring it back
    reader: str = "json"
    read: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[ErrorRule, ...] = ()
    private: bool = False

    def __hash__(self) -> int:
        return hash(self.id)  # of all its fields, mappings have none

    @property
    def name(self) -> str:
        """Who is behind it, as loops over resources show it (seed 001)."""
        return self.provider.name

    @property
    def priority(self) -> Level:
        """The level, by its name of seed 001: `resource.priority.name`."""
        return self.level

    @property
    def kind(self) -> Kind:
        return kind_of(self.chain)

    @property
    def needs_key(self) -> bool:
        return self.key is not None and not self.key.optional


class Rows(Protocol):
    """What is needed of the registry."""

    @property
    def levels(self) -> Mapping[Level, LevelTimes]: ...
    @property
    def resources(self) -> Sequence[Resource]: ...
    def chain(self, id_: str) -> Sequence[Resource]: ...
