"""The forms of the registry's tables: which keys each may have, and of which types."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from providers.budget import DAY_S, MONTH_S
from providers.errors import ErrorClass
from providers.paths import placeholders
from providers.questions import Kind
from providers.readers.fields import field_of
from providers.resources import KeyPlace, Level, State

_INFINITE: Final = (float("inf"), float("-inf"))
LEVELS: Final = tuple(level.name.lower() for level in Level)
# How long an answer is fresh where its row does not say, in seconds. Feeds are asked every five
# minutes at most (providers/news), and nodes give other answers with every block.
TTL_S: Final = {
    Kind.PRICE: 30.0,
    Kind.NEWS: 300.0,
    Kind.SENTIMENT: 300.0,
    Kind.GAS: 12.0,
    Kind.STATS: 60.0,
    Kind.BALANCE: 30.0,
    Kind.RPC: 2.0,
    Kind.WHALES: 60.0,
}


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"{text[:80]!r} is {what}")
        return text

    return check


def checked_url(text: str) -> str:
    """An address of HTTP, with placeholders in its path and query alone."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("https", "http"):
        raise ValueError(f"{text[:80]!r} is no URL such as https://host/path")
    if "{" in parts.netloc or "@" in parts.netloc:
        raise ValueError("the host of a URL has neither placeholders nor a user")
    if parts.fragment:
        raise ValueError("a URL that is asked has no #fragment")
    if re.search(r"[{}]", re.sub(r"\{[a-z_0-9]+\}", "", text)):
        raise ValueError("a brace in a URL is that of a placeholder")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("a URL has neither spaces nor characters beyond ASCII")
    return text


def _error_path(text: str) -> str:
    """Of a whole answer, whatever was asked."""
    field_of(text)
    if placeholders(text):
        raise ValueError("a path of errors has no placeholders")
    return text


def _limit(pair: list[int]) -> list[int]:
    """Longer windows than a day slide no more: they are the day, and the month."""
    if pair[1] > DAY_S and pair[1] != MONTH_S:
        raise ValueError(f"a limit is of {DAY_S} s at most, or of a month: {MONTH_S} s")
    return pair


def _limits(pairs: list[list[int]]) -> list[list[int]]:
    if len({seconds for _, seconds in pairs}) < len(pairs):
        raise ValueError("there are two limits of one time")
    return pairs


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, text in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError(f"{name[:80]!r} is no name of a header")
        if name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
            raise ValueError(f"{name} is set by what sends the request")
        if not re.fullmatch(r"[ -~]*", text):
            raise ValueError(f"{name} must be of printable characters of ASCII")
    return headers


def _body(value: Any) -> Any:
    """What JSON can say."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _body(each)
    elif not isinstance(value, str | int | float) or value != value or value in _INFINITE:
        raise ValueError(f"{value} is nothing that JSON can say")
    return value


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text[:80]!r} is no regular expression: {error}") from None
    return text


ID: Final = r"[a-z0-9][a-z0-9._-]{0,62}"
Variable = Annotated[
    str,
    AfterValidator(
        _matching(
            r"[A-Z0-9][A-Z0-9_]{0,60}_API_KEY(_[0-9])?",
            "no name such as ETHERSCAN_API_KEY or ETHERSCAN_API_KEY_2",
        )
    ),
]
ResourceId = Annotated[
    str,
    AfterValidator(
        _matching(
            rf"[a-z]+(\.[a-z0-9_-]+)?/{ID}(:[a-z0-9_-]+)?",
            "no id such as price.spot/kraken or price.spot/kraken:2",
        )
    ),
]
Url = Annotated[str, AfterValidator(checked_url)]
Expression = Annotated[str, AfterValidator(_expression)]
Date = Annotated[
    str,
    AfterValidator(_matching(r"\d{4}(-\d\d(-\d\d)?)?", "no date such as 2026-05-21 or 2026-05")),
]
Words = Annotated[str, Field(min_length=1, max_length=500)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LevelTable(Table):
    connect_s: Seconds
    read_s: Seconds
    total_s: Seconds
    attempts: int = Field(ge=1, le=10)


class KeyTable(Table):
    """`variable` is <PROVIDER>_API_KEY where it is not given."""

    variable: Variable | None = None
    place: Annotated[KeyPlace, Field(strict=False)]
    name: str | None = Field(None, min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")
    optional: bool = False


class ErrorTable(Table):
    class_: Literal["ok"] | Annotated[ErrorClass, Field(strict=False)] = Field(alias="class")
    status: list[Annotated[int, Field(ge=100, le=599)]] = []
    path: Annotated[str, AfterValidator(_error_path)] | None = None
    matches: Expression | None = None
    unless: Expression | None = None
    until: Literal["day", "month"] | None = None


# [quantity, seconds]: at most that many calls, or weights of calls, in that time.
LimitPair = Annotated[
    list[Annotated[int, Field(ge=1, le=1_000_000_000_000)]],
    Field(min_length=2, max_length=2),
    AfterValidator(_limit),
]


class ProviderTable(Table):
    """`hosts`: endings of hosts whose nodes, in [rpc], are this provider's."""

    name: Words
    limits: Annotated[list[LimitPair], AfterValidator(_limits)] = []
    attribution: Words | None = None
    attribution_url: Url | None = None
    terms: Words | None = None
    hosts: list[Annotated[str, Field(min_length=3)]] = []
    key: KeyTable | None = None
    errors: list[ErrorTable] = []


class ResourceTable(Table):
    """`provider` is what the id says after the slash where it is not given. `key`: false for none,
    or the variable of another key than the provider's, or a table."""

    id: ResourceId
    provider: str | None = None
    level: Literal["critical", "high", "medium", "low", "emergency"]
    state: Annotated[State, Field(strict=False)] = State.ALIVE
    reason: Words | None = None
    since: Date | None = None
    method: Literal["GET", "POST"] = "GET"
    url: Url | None = None
    via: str | None = None
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = {}
    query: dict[str, str] = {}
    body: Annotated[Any, AfterValidator(_body)] = None
    key: KeyTable | Variable | bool | None = None
    weight: int = Field(1, ge=1, le=10_000)
    ttl_s: float | None = Field(None, ge=0, le=86_400, allow_inf_nan=False)
    batch: int = Field(1, ge=1, le=10_000)
    hedge: bool = False
    probe: bool = True
    reader: str = "json"
    read: dict[str, Any] = {}
    errors: list[ErrorTable] = []


_FORMS: Final = ("KeyTable", "str", "bool")  # of `key`, which pydantic names where it tries each


def told(error: Any) -> str:
    """One of pydantic's mistakes in plain words: `key.of.the.field: reason`."""
    names = [str(part) for part in error["loc"] if str(part) not in _FORMS]
    names = [name for name in names if not name.startswith("function-")]
    reason = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        reason = "is unknown"
    elif error["type"] == "missing":
        reason = "is missing"
    return f"{'.'.join(names)}: {reason}"
