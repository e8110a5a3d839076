"""The shape of an exchange's facts: what it can be asked, within which limits, how it answers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from market.candles import Candles
from market.markets import Exchange, Market
from market.rows import TimedValues
from venues.errors import ExchangeError
from venues.reading import (
    AnswerPage,
    ErrorBody,
    Instrument,
    PayloadErrors,
    Settlement,
    Ticker,
)

Kind = type[ExchangeError]
TickerReader = Callable[[bytes, PayloadErrors], list[Ticker]]


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

    `counter`: which of the exchange's limits a request counts against. `weights`: (largest limit,
    weight) in ascending order; the first that holds counts. `symbol`, `period`, `start`, `end`:
    what the parameters are called. `horizon_ms`: how far back the exchange keeps this, None for
    all of it. `periods`: all candle lengths it serves, in our words and in its own.
    """

    path: str
    counter: str
    weights: tuple[tuple[int, int], ...] = ((10**9, 1),)
    page_limit: int = 0
    fixed: tuple[tuple[str, str], ...] = ()
    symbol: str = "symbol"
    period: str = ""
    start: str = "startTime"
    end: str = "endTime"
    order: Order = Order.ASCENDING
    horizon_ms: int | None = None
    periods: Mapping[str, str] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """All that is known of one exchange; general code reads it and names no exchange.

    Asking
      `base_url`: its REST address, unless the operator names another.
      `endpoints`: a table for each Endpoint, None for what the exchange does not have.
      `all_symbols_funding`: one funding request may ask for every symbol at once.
      `cheapest_candles`: how many candles the lightest request brings.
      `schedule`: the lists that tell intervals and next settlements, in the order to ask them,
      each with its reader. The last one names the contracts, those before add what they know.
      `default_funding_hours`: the interval of a contract that no list gives one for, if there is
      such a convention.
      `limits`: by counter.

    Refusals
      `statuses`, `codes`: what an HTTP status, or a code of the body, means.
      `success_start`: a body that begins so is no refusal; others are asked `read_error`.
      `symbol_gone`: texts of a refusal, in lower case, that say that the contract is gone where
      the code does not. `banned_until`: finds the end of a ban, ms, in such a text.
      `untold_ban_s`, `untold_pause_s`: how long to stay away where the answer does not say;
      None: for the window of the limit. `reset_header`: the field that tells when a limit's
      window ends, in ms.

    Reading: bytes of a successful answer to what they say, ascending by time, in base and quote
    units, open interest one-sided. Raises BadPayload for what is not in the exchange's form;
    whether values can be what was asked for is judged by the caller.
    """

    exchange: Exchange
    base_url: str
    endpoints: Mapping[Endpoint, EndpointTable | None]
    all_symbols_funding: bool
    cheapest_candles: int
    schedule: Mapping[Endpoint, TickerReader]
    default_funding_hours: int | None
    limits: Mapping[str, Limit]

    statuses: Mapping[int, Kind]
    codes: Mapping[str, Kind]
    success_start: bytes
    symbol_gone: re.Pattern[str] | None
    banned_until: re.Pattern[str] | None
    untold_ban_s: float
    untold_pause_s: float | None
    reset_header: str | None
    read_error: Callable[[bytes], ErrorBody | None]

    read_time: Callable[[bytes, PayloadErrors], int]
    read_klines: Callable[[bytes, Market, PayloadErrors], Candles]
    read_open_interest: Callable[[bytes, Market, PayloadErrors], TimedValues]
    read_funding: Callable[[bytes, PayloadErrors], list[Settlement]]
    read_instruments: Callable[[bytes, str, PayloadErrors], AnswerPage[Instrument]]
    read_tickers: TickerReader

    def table(self, endpoint: Endpoint) -> EndpointTable:
        """The endpoint's table; KeyError when the exchange has no such endpoint."""
        table = self.endpoints[endpoint]
        if table is None:
            raise KeyError(f"{self.exchange} has no endpoint {endpoint}")
        return table
