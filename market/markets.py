"""Types for exchanges, markets, coins, series of rows and funding. Plain data, no I/O.

Times are integer UTC milliseconds and end in `_ms`; intervals are milliseconds too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from market.columns import COLUMNS, FUNDING_COLUMNS, FundingRow, Row
from market.left_out import LeftOut
from market.timeframes import HOUR_MS

__all__ = [
    "COLUMNS",
    "FUNDING_COLUMNS",
    "NOT_FETCHED_YET",
    "Coin",
    "Exchange",
    "FundingByMarket",
    "FundingRow",
    "FundingSeries",
    "ListedMarket",
    "Market",
    "MarketSeries",
    "Meta",
    "Missing",
    "MissingPart",
    "Row",
    "UnreadableSeries",
]


class Exchange(StrEnum):
    """The exchanges; venues/<name>.py holds the facts of each."""

    BINANCE = "binance"
    BYBIT = "bybit"
    OKX = "okx"


# The live REST addresses, unless <EXCHANGE>_BASE_URL is set.
LIVE_ADDRESSES: Final[Mapping[Exchange, str]] = {
    Exchange.BINANCE: "https://fapi.binance.com",
    Exchange.BYBIT: "https://api.bybit.com",
    Exchange.OKX: "https://www.okx.com",
}
# The exchange with a public archive of files, its address, and the bucket behind it, which alone
# answers listings.
ARCHIVED: Final = Exchange.BINANCE
LIVE_ARCHIVE: Final = "https://data.binance.vision"
LIVE_ARCHIVE_LISTING: Final = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
# The exchanges whose streams live collectors read (live/exchanges.py), polled by this service or
# not.
STREAMED: Final = ("binance", "bybit", "okx")
# Collected unless EXCHANGES is set.
DEFAULT_EXCHANGES: Final = (Exchange.BINANCE, Exchange.BYBIT)


@dataclass(frozen=True, slots=True, order=True)
class Market:
    """One perpetual contract on one exchange; a coin on two exchanges is two markets.

    `symbol` is our name for it, in one style on every exchange; `native` is the exchange's own id,
    used in requests and answers (default: the symbol). `contract_size`: base units in one
    contract, for exchanges that count contracts. `since_ms`: nothing from before belongs to this
    contract, because another had the symbol or this one was delisted; 0: none known (lives.py).
    """

    exchange: Exchange
    symbol: str
    base: str
    quote: str
    launched_ms: int = field(default=0, compare=False)  # 0: unknown
    native: str = field(default="", compare=False)
    contract_size: float = field(default=1.0, compare=False)
    since_ms: int = field(default=0, compare=False)
    key: str = field(init=False, compare=False, repr=False)  # "exchange:symbol"

    def __post_init__(self) -> None:
        if not self.native:
            object.__setattr__(self, "native", self.symbol)
        object.__setattr__(self, "key", f"{self.exchange}:{self.symbol}")

    @property
    def is_native(self) -> bool:
        """Whether the exchange has an id of its own for it, or counts contracts."""
        return self.native != self.symbol or self.contract_size != 1.0


class ListedMarket(NamedTuple):
    """A market an exchange lists now; `turnover_24h` in quote units, None if unknown."""

    market: Market
    turnover_24h: float | None


Meta = Mapping[str, float | None]  # hurst, entropy, ...: numbers about a market and timeframe
# `listing` is a whole exchange, or a market that could not be taken from an exchange's list.
MissingPart = Literal["klines", "open_interest", "funding_rate", "listing"]

# The reason in `missing` for open interest that a first collection leaves to a later run.
NOT_FETCHED_YET: Final = "not fetched yet"


@dataclass(frozen=True, slots=True)
class Coin:
    """A market in the cold store, with its metadata for one timeframe."""

    market: Market
    meta: Meta


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of one market, or a whole exchange (`symbol` None), that a document lacks, and why.

    Of a whole exchange, the part `listing` says that it brought nothing; another, that its oldest
    values are not served any more.

    They sort by (exchange, symbol, part, reason); an exchange's own entry comes first.
    """

    exchange: Exchange
    symbol: str | None
    part: MissingPart
    reason: str

    def __lt__(self, other: "Missing") -> bool:
        return self._sort_key() < other._sort_key()

    def _sort_key(self) -> tuple[str, ...]:
        return self.exchange, self.symbol or "", self.part, self.reason


@dataclass(frozen=True, slots=True)
class FundingSeries:
    """The regular settlements of one market, ascending by funding_time.

    The settlements are known to be complete up to `checked_at_ms` (exchange time).
    `interval_hours` is the interval in force then; settlements fall on its multiples counted
    from 00:00 UTC. `left_out`: invalid settlements that were sent; the rate in force after one
    is unknown until the next.
    """

    market: Market
    rows: Sequence[FundingRow]
    interval_hours: int
    checked_at_ms: int
    left_out: Sequence[LeftOut] = ()

    def next_settlement_ms(self) -> int:
        """The first instant after `checked_at_ms` at which a settlement may fall."""
        step_ms = self.interval_hours * HOUR_MS
        return self.checked_at_ms - self.checked_at_ms % step_ms + step_ms


class UnreadableSeries(ValueError):
    """The series of a market in an older document cannot be decoded."""


# Funding of all markets, by Market.key: the content of `cache:global_fr`.
FundingByMarket = Mapping[str, FundingSeries]


@dataclass(frozen=True, slots=True)
class MarketSeries:
    """The merged rows of one market, ascending by open_time, unique, on the grid.

    `checked_at_ms`: exchange time of the last successful fetch of its candles.
    `stale_since_ms`: since when the rows are carried over from an older document, or None.
    `lacks_open_interest`: requests for some of the open interest failed, or, if it also
    `awaits_open_interest`, have not been sent yet. `left_out`: the invalid rows of each part.
    """

    market: Market
    rows: Sequence[Row]
    checked_at_ms: int
    stale_since_ms: int | None = None
    lacks_open_interest: bool = False
    left_out: Mapping[MissingPart, Sequence[LeftOut]] = field(default_factory=dict)
    awaits_open_interest: bool = False
