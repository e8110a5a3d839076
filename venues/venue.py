"""The types an exchange's file fills in: Venue, its endpoints, limits and requests."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from math import inf
from typing import Final, Protocol

from market.candles import Candle, Candles
from market.markets import Exchange, Market
from market.rows import TimedValues
from venues.errors import ExchangeError
from venues.reading import (
    AnswerFaults,
    AnswerPage,
    ErrorBody,
    Instrument,
    Maintenance,
    Settlement,
    Ticker,
)

# A request may be sent when so many rows more have come as a collection may take long.
_ROWS_LATE: Final = 40
# Of so many requests one is sent to the table of old rows, which serves the others too.
_NEW_TURNS: Final = 4
_OLD_TURNS: Final = 2
_FEW_ROWS: Final = 10

Kind = type[ExchangeError]
TickerReader = Callable[[bytes, AnswerFaults], list[Ticker]]
FundingReader = Callable[[bytes, AnswerFaults], list[Settlement]]


class PlainReader(Protocol):
    """As Venue.read_plain_klines."""

    def __call__(
        self, body: bytes, market: Market, interval_ms: int, trade_columns: bool = False
    ) -> Candles | None: ...


class CandleReader(Protocol):
    """As Venue.read_klines."""

    def __call__(
        self,
        body: bytes,
        market: Market,
        interval_ms: int,
        faults: AnswerFaults,
        trade_columns: bool = False,
    ) -> list[Candle]: ...


class Endpoint(StrEnum):
    """The kinds of requests; an exchange may lack some."""

    TIME = "time"
    KLINES = "klines"
    OPEN_INTEREST = "open_interest"
    FUNDING = "funding"
    FUNDING_INFO = "funding_info"
    PREMIUM_INDEX = "premium_index"
    INSTRUMENTS = "instruments"
    TICKERS = "tickers"
    STATUS = "status"  # whether the exchange is being maintained
    OTHER = "other"  # what is passed through for others


class Order(StrEnum):
    """The order of rows in an answer, which decides the direction of paging."""

    ASCENDING = auto()
    DESCENDING = auto()


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """One endpoint of one exchange.

    `counter`: name of the limit that requests count against. `weights`: (largest `limit`, weight)
    in ascending order; the first that is large enough applies. `fixed`: parameters of every
    request. `symbol`, `period`, `start`, `end`: names of the parameters. `exclusive_start`,
    `exclusive_end`: rows at these very times are not sent. `horizon_ms`: how far back its history
    reaches, `horizon_rows`: for how many rows, None for all of it. `periods`: the candle lengths
    it serves, our name to its own. `newest_rows`: it serves only so many, and `beyond` those
    before them. `reach_is_told`: a document says in `missing`, for the whole exchange, from when
    on the history is known; not of exchanges that were served before this was told, because
    readers take an entry without a symbol for an exchange that brought nothing.
    """

    path: str
    counter: str
    weights: tuple[tuple[float, int], ...] = ((inf, 1),)
    page_limit: int = 0
    fixed: tuple[tuple[str, str], ...] = ()
    symbol: str = "symbol"
    period: str = ""
    start: str = "startTime"
    end: str = "endTime"
    exclusive_start: bool = False
    exclusive_end: bool = False
    order: Order = Order.ASCENDING
    horizon_ms: int | None = None
    horizon_rows: int | None = None
    reach_is_told: bool = False
    periods: Mapping[str, str] = field(default_factory=dict)
    newest_rows: int = 0
    beyond: "EndpointTable | None" = None

    def weight(self, limit: int = 0) -> int:
        return next(weight for largest, weight in self.weights if limit <= largest)

    def reach_ms(self, step_ms: int) -> int | None:
        """How far back the history of rows `step_ms` apart reaches; None: all of it is served."""
        return self.horizon_ms if self.horizon_rows is None else self.horizon_rows * step_ms

    def serving(
        self, window: tuple[int, int], step_ms: int, as_of_ms: int | None, turn: int
    ) -> "EndpointTable":
        """The table that serves the rows `step_ms` apart within the window, both ends in ms.

        `as_of_ms`: the exchange's time, None if unknown. Rows that both tables serve are asked of
        `beyond`, too, in some `turn`s: of the newest pages in one of four, so that a close takes
        about as long with a backfill, which uses half of the limit of `beyond`, as without; of
        older pages, which only first collections need, in every other. Where `beyond` lacks the
        newest rows, these are asked of this table: a few rows always are.
        """
        if self.beyond is None or as_of_ms is None:
            return self.beyond or self
        oldest_ms, last_ms = window
        if oldest_ms <= as_of_ms - (self.newest_rows - _ROWS_LATE) * step_ms:
            return self.beyond
        if last_ms < as_of_ms - self.page_limit * step_ms:
            return self.beyond if turn % _OLD_TURNS == 0 else self
        are_few = last_ms - oldest_ms < _FEW_ROWS * step_ms
        return self.beyond if turn % _NEW_TURNS == 0 and not are_few else self


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
    """At most `quantity` per `window_s` seconds and IP address.

    `by_market`: counted apart for each market (Request.symbol); requests about none count together.
    `header`: the answer's header field with the amount used. `at_full_minutes`: windows begin at
    the exchange's full minutes; else they slide. `burst`: the part of our budget that may be spent
    at once; the rest is spread over the window.

    Networks delay requests unevenly, so an exchange may see two of them closer than they were sent.
    One process holds the room of a request until a window after its answer, so its own requests
    never break a limit. What processes share is held for longer than a window: for 0.25 s of one of
    5 s, for three seconds of a shorter one, as long as it is not given back (budgets/slots.py).
    """

    quantity: int
    window_s: float
    header: str | None = None
    at_full_minutes: bool = False
    burst: float = 0.5
    by_market: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """All facts of one exchange; other code reads them here and names no exchange.

    Requests
      `base_url`: its REST address, unless a setting overrides it.
      `endpoints`: a table for each Endpoint, None where the exchange has none.
      `recent_funding`: the endpoint that tells settlements of all symbols at once, some recent
      ones at least, and its parser; None: there is none.
      `cheapest_candles`: how many candles a request of the lowest weight returns.
      `schedule`: the lists with funding intervals and next settlements, in request order, each
      with its parser. The last one lists all contracts; those before it add details.
      `default_funding_hours`: the interval of a contract that no list gives one for, or None.
      `limits`: by counter.

    Errors
      `statuses`, `codes`: the error class of an HTTP status, or of a code in the body, which
      counts before the status where `codes_first`.
      `success_prefix`: a body that begins with it is no error; `read_error` checks others.
      `symbol_gone`: pattern of lower-case messages that mean SymbolGone where the code is
      ambiguous. `banned_until`: finds the end of a ban, in ms, in a lower-case message.
      `default_ban_s`, `default_pause_s`: how long to stop if the answer gives no time; None: no
      ban is known, and a pause is the limit's window. `reset_header`: the header field with the end
      of a limit's window, in ms.
      `refuses_by_limit`: RateLimited concerns the limit of the refused request alone. That one is
      held for `default_pause_s`, then asked at half the pace for a while, and the others are asked
      on. Else, or where the answer demands a longer pause, the whole exchange is left alone.

    Parsers take the body of a successful answer and return values in base and quote units, oldest
    first as the exchange orders them, open interest one-sided. They raise BadPayload for a body not
    in the exchange's format; a row or an entry that cannot be read is left out alone, and told to
    the AnswerFaults. The caller validates the values. `read_plain_klines` is the fast parser: None
    for an answer that is not in the usual form, or about another market or interval.
    `trade_columns` of both readers of candles: whether the columns of trades are wanted, too;
    `tells_trades`: whether the exchange tells them. `read_maintenance`: the one under way, None if
    there is none; of exchanges that have Endpoint.STATUS.
    """

    exchange: Exchange
    base_url: str
    endpoints: Mapping[Endpoint, EndpointTable | None]
    recent_funding: tuple[Endpoint, FundingReader] | None
    cheapest_candles: int
    schedule: Mapping[Endpoint, TickerReader]
    default_funding_hours: int | None
    limits: Mapping[str, Limit]

    statuses: Mapping[int, Kind]
    codes: Mapping[str, Kind]
    codes_first: bool = False
    success_prefix: bytes
    symbol_gone: re.Pattern[str] | None
    banned_until: re.Pattern[str] | None
    default_ban_s: float | None
    default_pause_s: float | None
    refuses_by_limit: bool = False
    reset_header: str | None
    read_error: Callable[[bytes], ErrorBody | None]

    read_time: Callable[[bytes, AnswerFaults], int]
    tells_trades: bool
    read_plain_klines: PlainReader
    read_klines: CandleReader
    read_open_interest: Callable[[bytes, Market, AnswerFaults], TimedValues]
    read_funding: FundingReader
    read_instruments: Callable[[bytes, str, AnswerFaults], AnswerPage[Instrument]]
    read_tickers: TickerReader
    read_maintenance: Callable[[bytes, AnswerFaults], Maintenance | None] | None = None

    def table(self, endpoint: Endpoint) -> EndpointTable:
        """The endpoint's table; KeyError when the exchange has no such endpoint."""
        table = self.endpoints[endpoint]
        if table is None:
            raise KeyError(f"{self.exchange} has no endpoint {endpoint}")
        return table
