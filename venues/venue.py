"""The shape of an exchange's facts: endpoints, limits, requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from market.markets import Exchange
from market.timeframes import Timeframe


class Endpoint(StrEnum):
    """What an exchange can be asked for."""

    TIME = "time"
    KLINES = "klines"
    OPEN_INTEREST = "open_interest"
    FUNDING = "funding"
    FUNDING_INFO = "funding_info"
    PREMIUM_INDEX = "premium_index"
    INSTRUMENTS = "instruments"
    TICKERS = "tickers"


class Order(StrEnum):
    """How history arrives, and so from which end its pages are followed."""

    ASCENDING = "ascending"
    DESCENDING = "descending"


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """One endpoint of one exchange.

    `weights`: (largest limit, weight) in ascending order; the first that holds counts.
    `horizon_ms`: how far back the exchange keeps this, None for all of it.
    """

    path: str
    counter: str
    weights: tuple[tuple[int, int], ...] = ((10**9, 1),)
    page_limit: int = 0
    fixed: tuple[tuple[str, str], ...] = ()
    period: str = ""
    start: str = "startTime"
    end: str = "endTime"
    order: Order = Order.ASCENDING
    horizon_ms: int | None = None
    periods: Mapping[Timeframe, str] = field(default_factory=dict)

    def weight(self, limit: int = 0) -> int:
        return next(weight for largest, weight in self.weights if limit <= largest)


@dataclass(frozen=True, slots=True)
class Request:
    """One GET: `target` is the path with its encoded query; it costs `weight` of `counter`."""

    exchange: Exchange
    endpoint: Endpoint
    target: str
    counter: str
    weight: int = 1
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """`quantity` per `window_s` seconds and address.

    `header`: the field of an answer that tells what is used of it. `at_full_minutes`: windows
    begin at the exchange's full minutes; else they slide.
    """

    quantity: int
    window_s: float
    header: str | None = None
    at_full_minutes: bool = False
