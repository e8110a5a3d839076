"""The arguments of tools: their types, bounds and descriptions."""

from typing import Annotated, Final, Literal

from pydantic import Field, WithJsonSchema

from market.markets import Exchange
from market.timeframes import Timeframe

MOST_ROWS: Final = 500  # of one answer, over all its markets
MOST_SYMBOLS: Final = 10
MOST_MARKETS: Final = 100
MOST_ASSETS: Final = 20
MOST_STORIES: Final = 50

# Letters of any script: some contracts are named in Chinese.
_SYMBOL: Final = r"^[^\W_]{2,40}$"
_WORD: Final = r"^[\w.-]{1,40}$"

Symbol = Annotated[
    str,
    Field(
        pattern=_SYMBOL,
        description="A contract, such as BTCUSDT: 2 to 40 letters and digits of either case.",
    ),
]
Symbols = Annotated[
    list[Symbol],
    Field(
        min_length=1,
        max_length=MOST_SYMBOLS,
        description="Contracts, such as BTCUSDT: each of 2 to 40 letters and digits.",
    ),
]
ThisExchange = Annotated[
    Exchange, WithJsonSchema({"type": "string", "enum": [*map(str, Exchange)]})
]
OneExchange = Annotated[
    ThisExchange | None,
    Field(description="Only this exchange; without it, all of them."),
]
Candles = Annotated[
    Timeframe,
    WithJsonSchema(
        {
            "type": "string",
            "enum": [*map(str, Timeframe)],
            "description": "The length of the candles.",
        }
    ),
]
RowCount = Annotated[
    int, Field(ge=1, le=MOST_ROWS, description="The newest rows of each market, at most.")
]
MarketCount = Annotated[int, Field(ge=1, le=MOST_MARKETS, description="So many markets at most.")]
Search = Annotated[
    str | None,
    Field(
        pattern=r"^[^\W_]{1,40}$",
        description="A part of a symbol, such as BTC: letters and digits.",
    ),
]
AssetName = Annotated[
    str,
    Field(
        pattern=r"^[^\W_]{1,40}$",
        description="An asset, a contract's base or a contract, such as PEPE, 1000PEPE or"
        " PEPEUSDT: letters and digits of either case.",
    ),
]
PartOfAsset = Annotated[
    str | None,
    Field(pattern=r"^[^\W_]{1,40}$", description="A part of an asset's name: letters and digits."),
]
AssetCount = Annotated[int, Field(ge=1, le=MOST_MARKETS, description="So many assets at most.")]
Instant = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[0-9][0-9TtZz:.+ -]*$",
        description="UTC milliseconds, or ISO 8601 such as 2026-11-01T00:00Z.",
    ),
]
Assets = Annotated[
    list[Annotated[str, Field(pattern=_WORD)]] | None,
    Field(max_length=MOST_ASSETS, description="Assets, such as btc; without it the usual ones."),
]
Quote = Annotated[str, Field(pattern=r"^[A-Za-z]{2,10}$", description="The currency of prices.")]
Kind = Annotated[
    Literal["aggregate", "spot", "perp"],
    Field(description="Of which market; a price of one is never given for another."),
]
StoryCount = Annotated[int, Field(ge=1, le=MOST_STORIES, description="So many at most.")]
Period = Annotated[Literal["1h", "4h", "24h"], Field(description="Over how long.")]
