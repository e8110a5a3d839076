"""The types that an exchange's file fills in: its public paths, and the form of its errors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from facade.candle_questions import CandleQuestion
from facade.market_rows import MarketRows
from facade.told_rows import RowReader
from market.markets import Exchange
from venues.venue import Endpoint

# What answers a path from the cache (facade/answers): nothing else has all fields of its rows.
Answerer = Literal["klines", "open_interest", "funding", "time"]
Query = Mapping[str, str]  # what a caller asks with, each parameter once


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

    `columns`: the columns of a document whose texts an answer has. `asked`: what a query means,
    None where the exchange alone knows or would refuse it. `told`: the body of the answer, from
    rows, the lines of them that are told (ascending), the question, and the exchange's time.
    """

    columns: tuple[str, ...]
    asked: Callable[[Query], CandleQuestion | None]
    told: Callable[[MarketRows, range, CandleQuestion, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacadeVenue:
    """What the facade knows of one exchange.

    `paths`: by path. `error`: the body of an error as the exchange writes it, from an HTTP status
    and a text; and the HTTP status that it is sent with. `signing`: parameters that only signed
    requests have. `key_headers`: header fields that carry keys (lower case, prefixes). `candles`:
    the form of its candles. `read_rows`: the rows of answers of an endpoint that are kept as they
    came.
    """

    exchange: Exchange
    paths: Mapping[str, PublicPath]
    error: Callable[[int, str], tuple[int, bytes]]
    signing: frozenset[str]
    key_headers: tuple[str, ...]
    candles: CandleForm
    read_rows: Mapping[Endpoint, RowReader]


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


def of_one_or_all(one: int, all_: int) -> Callable[[Query], int]:
    """Weights of lists that a parameter `symbol` cuts to one entry."""
    return lambda query: one if query.get("symbol") else all_


def always(weight: int) -> Callable[[Query], int]:
    return lambda _: weight


def whole_number(text: str, most: int) -> int | None:
    """A parameter that is a plain whole number from 0 to `most`, else None."""
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        return None
    number = int(text)
    return number if number <= most else None


def time_or_none(text: str | None) -> int | None:
    """A parameter that is a time in UTC ms; None where it is absent or none that can be."""
    return None if text is None else whole_number(text, 10**14)
