"""Pydantic models of backfills, for requests and for the OpenAPI page."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from api.documents.models import EXAMPLE_MS, TimeMs
from api.moments import read_moment
from market.markets import Exchange
from market.timeframes import Timeframe

MOST_SYMBOLS: Final = 2000
LONGEST_SYMBOL: Final = 100
_LARGEST: Final = 10**15  # more is no time in ms

What = Literal["candles", "open_interest", "funding"]


def _moment(value: int | str) -> int:
    return read_moment(str(value))


if TYPE_CHECKING:
    Moment = int  # as it is read
else:
    Moment = Annotated[
        Annotated[StrictInt, Field(ge=0, le=_LARGEST)] | Annotated[StrictStr, Field(max_length=40)],
        AfterValidator(_moment),
    ]
Symbol = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_SYMBOL)]


class AskBackfill(BaseModel):
    """What is to be asked of the exchanges. What is left out means: all that is collected, of the
    last year."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"symbols": ["BTCUSDT"], "timeframes": ["1h"], "from": "2025-01-01"}]
        },
    )

    exchanges: list[Exchange] = Field([], max_length=len(Exchange))
    symbols: list[Symbol] = Field(
        [], max_length=MOST_SYMBOLS, description="none: all markets that are collected"
    )
    timeframes: list[Timeframe] = Field(
        [],
        max_length=len(Timeframe),
        description="none: those of the setting TIMEFRAMES. 4h and 8h come together",
    )
    what: list[What] = Field([], max_length=3, description="none: all three")
    from_: Moment | None = Field(
        None, alias="from", description="inclusive; UTC milliseconds or ISO 8601. null: a year ago"
    )
    to: Moment | None = Field(None, description="exclusive; null: up to the newest values")
    dry_run: bool = Field(False, strict=True, description="tell what it costs, and ask nothing")


class CostOf(BaseModel):
    """Of one exchange's data of one kind."""

    exchange: str
    what: str = Field(description="a timeframe, `open_interest` or `funding`")
    requests: int
    minutes: float = Field(description="within the share of the budget, from all addresses")
    rows: int
    bytes: int = Field(description="that the rows take in the database")


class BackfillCost(BaseModel):
    """What a backfill costs at most: of what no backfill has asked for some may be stored."""

    requests: int
    minutes: float = Field(description="as long as the slowest limit takes")
    rows: int
    bytes: int
    costs: list[CostOf]


class WantedOf(BaseModel):
    exchanges: list[str]
    symbols: list[str] = Field(description="none: all markets that are collected")
    timeframes: list[str]
    what: list[str]
    from_: TimeMs = Field(alias="from")
    to: TimeMs | None = Field(description="exclusive; null: up to the newest values")


_BACKFILL: Final[dict[str, Any]] = {
    "id": 3,
    "state": "running",
    "wanted": {
        "exchanges": ["binance", "bybit"],
        "symbols": ["BTCUSDT"],
        "timeframes": ["1h"],
        "what": ["candles"],
        "from": EXAMPLE_MS,
        "to": None,
    },
    "requested_at": EXAMPLE_MS,
    "started_at": EXAMPLE_MS,
    "finished_at": None,
    "done": 12,
    "total": 27,
    "requests": 13,
    "rows": 5988,
    "seconds_left": 2,
    "failures": {},
    "error": None,
}


class Backfill(BaseModel):
    """A backfill that was asked for, and how far it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BACKFILL]})

    id: int
    state: Literal["queued", "running", "complete", "failed", "cancelled"]
    wanted: WantedOf
    requested_at: TimeMs
    started_at: TimeMs | None
    finished_at: TimeMs | None
    done: int = Field(description="of `total` requests, those that need not be sent any more")
    total: int
    requests: int = Field(description="that were sent, repeated ones too")
    rows: int = Field(description="added or corrected")
    seconds_left: int | None
    failures: dict[str, str] = Field(description="causes, by market or exchange")
    error: str | None


class AcceptedBackfill(Backfill):
    """A backfill that was taken on, and what it costs at most."""

    cost: BackfillCost


class Backfills(BaseModel):
    """The newest backfills first."""

    backfills: list[Backfill]
