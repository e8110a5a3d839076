"""What the messages of the exchanges' streams say, in one form for all exchanges.

They are Structs: a dataclass of twelve fields takes 1.5 microseconds to make, a Struct 0.1.

Prices and sizes are the texts that the exchange sent, never rounded: sizes and volumes in base
units, turnover in quote units. Times are the exchange's, in UTC milliseconds. `symbol` is the
exchange's own name of the market.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from market.timeframes import Timeframe

Level = tuple[str, str]  # price, size; a size of zero removes the level


class CandleEvent(msgspec.Struct, frozen=True, gc=False):
    """One candle as it stands. `closed` is the exchange's own flag, nothing else."""

    symbol: str
    timeframe: str  # "1m", "5m", "1h": our names, and those of sizes that only streams have
    open_time_ms: int
    event_time_ms: int  # OKX tells none: the earliest that it can be, its open or close time
    closed: bool
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    # Of trades Binance alone tells: how many, and what takers bought, whatever was sent as that
    # (candle_trades.py reads it).
    trades: int | None = None
    taker_buy_volume: str = ""
    taker_buy_turnover: str = ""


class TradeEvent(msgspec.Struct, frozen=True, gc=False):
    """One execution, or one taker's order at one price, as the exchange groups them."""

    symbol: str
    time_ms: int
    trade_id: str
    price: str
    size: str
    side: str  # of the taker: "buy" or "sell"


class TickerEvent(msgspec.Struct, frozen=True, gc=False):
    """The fields of a ticker that a message tells. Where an exchange sends changes alone, a
    missing field is unchanged and `is_change` is True; else the ticker is whole.

    Names: last_price, last_size, bid_price, bid_size, ask_price, ask_size, open_24h, high_24h,
    low_24h, volume_24h (base units), turnover_24h (quote units), trades_24h, mark_price,
    index_price, funding_rate (of the running period, predicted), open_interest (one-sided, base
    units). A field that was sent empty is not told.
    """

    symbol: str
    time_ms: int
    values: Mapping[str, str]
    is_change: bool = False


class BookEvent(msgspec.Struct, frozen=True, gc=False):
    """A whole order book, or a change of one, with the numbers that its continuity is judged by."""

    symbol: str
    time_ms: int
    is_snapshot: bool
    bids: Sequence[Level]
    asks: Sequence[Level]
    last_id: int  # -1: none was told
    first_id: int | None = None  # Binance: U
    previous_id: int | None = None  # Binance: pu, OKX: prevSeqId


class FundingEvent(msgspec.Struct, frozen=True, gc=False):
    """When a market settles next: where that moves on, a settlement has happened. Told again and
    again, also where it has not changed. `values`: what a message about funding tells beside
    (mark_price, index_price, funding_rate, as in a ticker)."""

    symbol: str
    time_ms: int
    next_funding_time_ms: int
    values: Mapping[str, str] = {}


class Subscribed(msgspec.Struct, frozen=True, gc=False):
    """The exchange acknowledged a request. That proves nothing: only data does."""

    request_id: str
    names: Sequence[str] = ()  # where the answer tells them


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The exchange refused a request, or one name of it; `names` where the answer tells them.
    `is_held`: because they are subscribed already."""

    request_id: str
    reason: str
    names: Sequence[str] = ()
    is_held: bool = False


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The answer to our own ping."""


class ClosingSoon(msgspec.Struct, frozen=True, gc=False):
    """The exchange will close this connection: open another one now."""

    reason: str


class Dropped(StrEnum):
    """Why an event is left out, for the counts."""

    OTHER_PRODUCT = "other_product"  # COIN-M rows in the arrays of USD-M
    UNREAD_KIND = "unread_kind"  # a message that nobody asked for
    UNREADABLE = "unreadable"  # one entry of a message that cannot be read


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """A message, or one entry of it, that is left out, and why."""

    cause: Dropped
    text: str  # cut by texts.foreign
    symbol: str | None = None  # the market that it is about, where that can be read


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
