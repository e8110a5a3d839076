"""Pydantic models of a document and of the list of documents, for the OpenAPI page."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from market.columns import TRADE_VALUES
from market.markets import COLUMNS, FUNDING_COLUMNS, Exchange, MissingPart

TimeMs = Annotated[int, Field(description="UTC milliseconds")]
EXAMPLE_MS = 1_763_726_400_000  # 2025-11-21 12:00 UTC


class CacheState(BaseModel):
    """The version and age of one document."""

    version: int
    as_of: TimeMs
    updated_at: TimeMs
    age_s: float
    bytes: int = Field(description="size in the store, as base64")


class RefreshRequest(BaseModel):
    """The request that makes a newer version."""

    post: str = Field(description="where to POST")
    body: dict[str, str] | None = Field(description="the JSON to send; null: none")


class DocumentEntry(BaseModel):
    name: str
    path: str = Field(description="where to GET it")
    document: CacheState | None = Field(description="null: nothing collected yet")
    refresh: RefreshRequest


class DocumentList(BaseModel):
    """Every document, collected or not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "documents": [
                        {
                            "name": "4h",
                            "path": "/cache/4h",
                            "document": {
                                "version": EXAMPLE_MS,
                                "as_of": EXAMPLE_MS,
                                "updated_at": EXAMPLE_MS + 60_000,
                                "age_s": 12.5,
                                "bytes": 26_000_000,
                            },
                            "refresh": {"post": "/get-market-data", "body": {"timeframe": "4h"}},
                        }
                    ]
                }
            ]
        }
    )

    documents: list[DocumentEntry]


class MissingEntry(BaseModel):
    """What a document lacks, and why."""

    exchange: Exchange
    symbol: str | None = Field(
        description="null: the whole exchange brought nothing, or, if `part` is another than"
        " `listing`, does not serve the oldest values of that part any more"
    )
    part: MissingPart = Field(
        description="listing: the exchange, or a market of its list, could not be taken in at all"
    )
    reason: str


class MarketEntry(BaseModel):
    """One market of a document; global_fr has `interval_hours` instead of `meta`."""

    exchange: Exchange
    symbol: str
    base: str
    quote: str
    meta: dict[str, float | None] | None = None
    interval_hours: int | None = Field(default=None, description="in global_fr only")
    checked_at: TimeMs = Field(description="when this market was last fetched with success")
    stale_since: TimeMs | None = Field(
        default=None, description="since when its rows are carried over; not in global_fr"
    )
    rows: list[list[float | None]] = Field(description="one array per row, in order of columns")


class Document(BaseModel):
    """All markets of one timeframe, or the funding of all markets (global_fr)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "timeframe": "4h",
                    "interval_ms": 14_400_000,
                    "version": EXAMPLE_MS,
                    "as_of": EXAMPLE_MS,
                    "updated_at": EXAMPLE_MS + 60_000,
                    "last_closed_open_time": EXAMPLE_MS - 14_400_000,
                    "source": "collected",
                    "columns": list(COLUMNS),
                    "markets": [
                        {
                            "exchange": "binance",
                            "symbol": "BTCUSDT",
                            "base": "BTC",
                            "quote": "USDT",
                            "meta": {"hurst": 0.53, "entropy": 0.91, "realised_volatility": 0.38},
                            "checked_at": EXAMPLE_MS,
                            "stale_since": None,
                            "rows": [
                                [
                                    EXAMPLE_MS,
                                    86000.1,
                                    86500.0,
                                    85800.0,
                                    86123.4,
                                    5123.5,
                                    441e6,
                                    9e4,
                                    1e-4,
                                ]
                            ],
                        }
                    ],
                    "missing": [
                        {
                            "exchange": "bybit",
                            "symbol": "XYZUSDT",
                            "part": "open_interest",
                            "reason": "10001 params error",
                        }
                    ],
                }
            ]
        }
    )

    timeframe: str
    interval_ms: int | None
    version: int
    as_of: TimeMs
    updated_at: TimeMs
    last_closed_open_time: TimeMs | None
    source: Literal["collected", "aggregated"]
    columns: list[str] = Field(
        description=f"{', '.join(COLUMNS)}, and with TRADE_COLUMNS=on"
        f" {', '.join(column.name for column in TRADE_VALUES)}; of global_fr:"
        f" {', '.join(FUNDING_COLUMNS)}"
    )
    markets: list[MarketEntry]
    missing: list[MissingEntry]
