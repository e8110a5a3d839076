"""The types that an exchange's file fills in: its public paths, and the form of its errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeVar

from facade.candle_questions import CandleQuestion
from facade.history_questions import FundingQuestion, InterestQuestion
from facade.market_rows import MarketRows
from facade.told_rows import RowReader
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from venues.venue import Endpoint, Limit

Asked = CandleQuestion | InterestQuestion | FundingQuestion
# What answers a path from the cache (facade/answers): nothing else has all fields of its rows.
Answerer = Literal["klines", "open_interest", "funding", "time"]
# From the name of a limit, what it is, how much of it is used, and the exchange's time.
LimitHeaders = Callable[[str, Limit, int, int], list[tuple[bytes, bytes]]]
# The coins in one contract by the exchange's id of the market, from its list of all contracts.
# Raises ValueError or LookupError for another form.
ContractReader = Callable[[bytes], Mapping[str, Decimal]]
Query = Mapping[str, str]  # what a caller asks with, each parameter once
Q = TypeVar("Q")
# The body of an answer without its closing, from the texts of kept rows, ascending, and the
# exchange's id of the market.
HistoryTeller = Callable[[Sequence[str], str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicPath:
    """One public GET of an exchange.

    `path`: as the exchange has it. `parameters`: those that it takes; the exchange ignores others,
    and so they are left out. `counter`, `weight`: the limit that a request counts against (of
    venues), and how much by its query. `ttl_s`: for how long the exchange's own answer is given to
    others who ask the same; 0: only to those who ask meanwhile. `answerer`: what may answer it from
    the cache.
    """

    path: str
    parameters: frozenset[str]
    counter: str
    weight: Callable[[Query], int]
    ttl_s: float = 0.0
    answerer: Answerer | None = None


@dataclass(frozen=True, slots=True)
class CandleForm:
    """Candles as the exchange tells them.

    `columns`: the columns of a document whose texts an answer has. `told`: the body of the answer
    without its closing, from rows, the lines of them that are told (ascending), the question, and
    the coins in one contract (1 where the exchange counts coins); None where a number is not to be
    told as the exchange tells it. `newest`: the newest open time in a body of the exchange. Raises
    ValueError or LookupError.
    """

    columns: tuple[str, ...]
    told: Callable[[MarketRows, range, CandleQuestion, Decimal], bytes | None]
    newest: Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class TimeForm:
    """The exchange's time as it tells it. `told`: the body of an answer without its closing.
    `read`: the time in any body of the exchange, None if it has none."""

    told: Callable[[int], bytes]
    read: Callable[[bytes], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacadeVenue:
    """What the facade knows of one exchange.

    `paths`: by path. `error`: the body of an error as the exchange writes it, from an HTTP status
    and a text; and the HTTP status that it is sent with. `signing`: parameters that only signed
    requests have, in small letters and digits alone. `key_headers`: header fields that carry keys
    (lower case, prefixes). `asked`: by path, what a query of candles or a history means, None where
    the exchange alone knows or would refuse it. `candles`, `interest`, `funding`, `time`: the forms
    of what is answered from the cache. `closing`: what ends each body, by the exchange's time;
    `unclosed`: a body without it, None for an error. `read_rows`: the rows of answers of an
    endpoint that are kept as they came. `limit_headers`: the header fields that tell how much of a
    limit is used.

    Its markets
      `symbol`: the parameter that names one. `our_symbol`: our name of a market from its id, None
      for one that documents never have. `read_contracts`: of an exchange whose candles are told in
      contracts, or that counts requests by market; None of others.
    """

    exchange: Exchange
    paths: Mapping[str, PublicPath]
    error: Callable[[int, str], tuple[int, bytes]]
    signing: frozenset[str]
    key_headers: tuple[str, ...]
    asked: Mapping[str, Callable[[Query], Asked | None]]
    candles: CandleForm
    interest: HistoryTeller
    funding: HistoryTeller
    time: TimeForm
    closing: Callable[[int], bytes]
    unclosed: Callable[[bytes], bytes | None]
    read_rows: Mapping[Endpoint, RowReader]
    limit_headers: LimitHeaders
    symbol: str = "symbol"
    our_symbol: Callable[[str], str | None] = str
    read_contracts: ContractReader | None = None


def table(paths: tuple[PublicPath, ...]) -> Mapping[str, PublicPath]:
    """By path."""
    return {each.path: each for each in paths}


def by_limit(steps: tuple[tuple[float, int], ...], usual: int) -> Callable[[Query], int]:
    """Weights that grow with the parameter `limit`: (largest, weight), ascending. One that cannot
    be read costs what the greatest does: the exchange decides what it means."""

    def weight(query: Query) -> int:
        text = query.get("limit", "")
        if not text:
            limit: float = usual
        elif text.isascii() and text.isdigit() and len(text) < 7:
            limit = int(text)
        else:
            limit = steps[-1][0]
        return next((cost for largest, cost in steps if limit <= largest), steps[-1][1])

    return weight


def of_one_or_all(one: int, all_: int, symbol: str = "symbol") -> Callable[[Query], int]:
    """Weights of lists that the parameter `symbol` cuts to one entry."""
    return lambda query: one if query.get(symbol) else all_


def always(weight: int) -> Callable[[Query], int]:
    return lambda _: weight


def whole_number(text: str, most: int) -> int | None:
    """A parameter that is a plain whole number from 0 to `most`, else None."""
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        return None
    number = int(text)
    return number if number <= most else None


class Unclear(ValueError):
    """A parameter of which the exchange alone knows what it means."""


def limit_of(query: Query, usual: int, most: int) -> int:
    """The parameter `limit`, `usual` without it. Raises Unclear unless it is from 1 to `most`."""
    limit = whole_number(query.get("limit", str(usual)), most)
    if not limit:
        raise Unclear("limit")
    return limit


def bounds_of(query: Query, first: str, last: str) -> tuple[int | None, int | None]:
    """Two parameters that are times in UTC ms, None where one is absent. Raises Unclear."""
    return _time(query, first), _time(query, last)


def _time(query: Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    time_ms = whole_number(text, 10**14)
    if time_ms is None:
        raise Unclear(name)
    return time_ms


def clear(read: Callable[[Query], Q | None]) -> Callable[[Query], Q | None]:
    """As `read`, None where that raises Unclear."""

    def asked(query: Query) -> Q | None:
        try:
            return read(query)
        except Unclear:
            return None

    return asked


_UNITS_MS: Final = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


def grid_lengths(periods: Mapping[str, str]) -> dict[str, int]:
    """The lengths of those periods that divide a day, by the exchange's word; `periods`: its words
    by ours (5m, 1h)."""
    lengths = {
        theirs: int(ours[:-1]) * _UNITS_MS[ours[-1]]
        for ours, theirs in periods.items()
        if ours[-1] in _UNITS_MS
    }
    return {word: length for word, length in lengths.items() if DAY_MS % length == 0}
