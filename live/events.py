"""What the messages of the exchanges' streams say, in one form for all exchanges.

Prices and sizes are the texts that the exchange sent, never rounded: sizes and volumes in base
units, turnover in quote units. Times are the exchange's, in UTC milliseconds. `symbol` is the
exchange's own name of the market.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from market.timeframes import Timeframe

Level = tuple[str, str]  # price, size; a size of zero removes the level


@dataclass(frozen=True, slots=True)
class CandleEvent:
    """One candle as it stands. `closed` is the exchange's own flag, nothing else."""

    symbol: str
    timeframe: str  # "1m", "5m", "1h": our names, and those of sizes that only streams have
    open_time_ms: int
    event_time_ms: int
    closed: bool
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    trades: int | None = None  # Binance alone counts them


@dataclass(frozen=True, slots=True)
class TradeEvent:
    """One execution, or one taker's order at one price, as the exchange groups them."""

    symbol: str
    time_ms: int
    trade_id: str
    price: str
    size: str
    side: str  # of the taker: "buy" or "sell"


@dataclass(frozen=True, slots=True)
class TickerEvent:
    """The fields of a ticker that a message tells. Where an exchange sends changes alone, a
    missing field is unchanged and `is_change` is True; else the ticker is whole."""

    symbol: str
    time_ms: int
    values: Mapping[str, str]
    is_change: bool = False


@dataclass(frozen=True, slots=True)
class BookEvent:
    """A whole order book, or a change of one, with the numbers that its continuity is judged by."""

    symbol: str
    time_ms: int
    is_snapshot: bool
    bids: Sequence[Level]
    asks: Sequence[Level]
    last_id: int
    first_id: int | None = None  # Binance: U
    previous_id: int | None = None  # Binance: pu, OKX: prevSeqId


@dataclass(frozen=True, slots=True)
class FundingEvent:
    """When a market settles next: where that moves on, a settlement has happened."""

    symbol: str
    time_ms: int
    next_funding_time_ms: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The exchange acknowledged a request. That proves nothing: only data does."""

    request_id: str
    names: Sequence[str] = ()  # where the answer tells them


@dataclass(frozen=True, slots=True)
class Refused:
    """The exchange refused a request, or one name of it; `names` where the answer tells them."""

    request_id: str
    reason: str
    names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to our own ping."""


@dataclass(frozen=True, slots=True)
class ClosingSoon:
    """The exchange will close this connection: open another one now."""

    reason: str


class Dropped(StrEnum):
    """Why an event is left out, for the counts."""

    OTHER_PRODUCT = "other_product"  # COIN-M rows in the arrays of USD-M
    UNREAD_KIND = "unread_kind"  # a message that nobody asked for
    UNREADABLE = "unreadable"  # one entry of a message that cannot be read


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A message, or one entry of it, that is left out, and why."""

    cause: Dropped
    text: str  # cut by texts.foreign


Event = (
    CandleEvent
    | TradeEvent
    | TickerEvent
    | BookEvent
    | FundingEvent
    | Subscribed
    | Refused
    | Pong
    | ClosingSoon
    | LeftOut
)

# The timeframes of candle streams that our documents do not have, beside market.timeframes.
ONLY_STREAMED = ("1m", "3m")
TIMEFRAMES = (*ONLY_STREAMED, *(timeframe.value for timeframe in Timeframe))
