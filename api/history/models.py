"""Pydantic models of history, for the OpenAPI page."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.documents.models import EXAMPLE_MS, TimeMs
from database import HoleState
from market.markets import Exchange
from market.timeframes import Timeframe

_EXAMPLE: Final[dict[str, Any]] = {
    "kind": "candles",
    "timeframe": "4h",
    "interval_ms": 14_400_000,
    "from": EXAMPLE_MS - 14_400_000,
    "to": None,
    "as_of": EXAMPLE_MS + 4000,
    "rows": 1,
    "unrecorded_rows": 0,
    "next": None,
    "columns": ["open_time", "close", "known_at"],
    "markets": [
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "rows": [[EXAMPLE_MS - 14_400_000, 97012.3, EXAMPLE_MS + 4000]],
        }
    ],
}


class HistoryMarket(BaseModel):
    exchange: Exchange
    symbol: str
    source: str | None = Field(None, description="of prices: where they come from")
    rows: list[list[float | int | None]] = Field(description="ascending, in the order of columns")


class HistoryRows(BaseModel):
    """Rows of the record, market by market."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]}, populate_by_name=True)

    kind: Literal["candles", "open_interest", "funding", "prices"]
    timeframe: Timeframe | None
    interval_ms: int | None
    from_: TimeMs = Field(alias="from")
    to: TimeMs | None
    as_of: TimeMs | None = Field(
        description="the state that was read; null if nothing is stored of it"
    )
    rows: int = Field(description="of this page")
    unrecorded_rows: int = Field(description="of them, those that were stored after as_of")
    next: str | None = Field(description="the cursor of the next page")
    columns: list[str]
    markets: list[HistoryMarket]


_HOLE: Final[dict[str, Any]] = {
    "holes": [
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "kind": "candles",
            "timeframe": "1h",
            "from": EXAMPLE_MS - 14_400_000,
            "to": EXAMPLE_MS - 7_200_000,
            "instants": 2,
            "state": "asked",
            "first_asked_at": EXAMPLE_MS,
            "asked_at": EXAMPLE_MS,
            "looked_at": EXAMPLE_MS + 4000,
        }
    ],
    "next": None,
    "counts": {str(exchange): {"asked": 1} for exchange in Exchange},
}


class Hole(BaseModel):
    exchange: str
    symbol: str
    kind: Literal["candles", "open_interest", "funding"]
    timeframe: Timeframe | None = Field(description="of candles")
    from_: TimeMs = Field(
        alias="from",
        description="the first instant that lacks; of funding, when a settlement may have been",
    )
    to: TimeMs = Field(description="exclusive; of funding, the next settlement")
    instants: int | None = Field(description="how many lack; null for funding")
    state: HoleState = Field(
        description="not_asked; asked: the exchange had nothing, and is asked again after a day;"
        " exchange: it had nothing a day later, either; out_of_reach: it tells nothing that is so"
        " old; document: the next documents may bring it"
    )
    first_asked_at: TimeMs | None = Field(description="when the exchange first answered for it")
    asked_at: TimeMs | None = Field(description="when it last did")
    looked_at: TimeMs | None = Field(description="when the market was last looked at")


class Holes(BaseModel):
    """A page of holes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HOLE]})

    holes: list[Hole]
    next: str | None = Field(description="the cursor of the next page")
    counts: dict[str, dict[str, int]] = Field(description="of all holes, by exchange and state")
