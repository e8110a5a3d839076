"""Parses the answers of every exchange into validated rows; the only place with these checks.

Pure functions without I/O, clock or partial results. Each takes the body of a successful answer
and raises BadPayload, with exchange and market, if the content cannot be right. Rows come out
ascending by time. The exchanges' files in venues/ know the formats.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter, le, lt
from typing import Any, Final, TypeVar

import numpy as np

from market.candles import Candle
from market.markets import Exchange, FundingRow, Market
from market.rows import Columns, on_grid
from venues import VENUES
from venues.reading import AnswerPage, Instrument, PayloadErrors, Ticker
from venues.venue import Endpoint

__all__ = [
    "AnswerPage",
    "Candle",
    "Instrument",
    "OpenInterestRow",
    "Ticker",
    "parse_all_funding",
    "parse_funding",
    "parse_instruments",
    "parse_klines",
    "parse_open_interest",
    "parse_schedule",
    "parse_server_time",
    "parse_tickers",
]

T = TypeVar("T", bound=tuple[Any, ...])
OpenInterestRow = tuple[int, float]  # time of the snapshot ms | base units, one-sided
_EARLIEST_NOW_MS: Final = 1_500_000_000_000  # 2017
_LATEST_NOW_MS: Final = 10_000_000_000_000  # 2286


# --- history -----------------------------------------------------------------------------------


def parse_klines(market: Market, body: bytes, *, interval_ms: int) -> AnswerPage[Candle]:
    """Candles of one market, volume in base and turnover in quote units."""
    fail = PayloadErrors(market.exchange, Endpoint.KLINES, market.symbol)
    candles = VENUES[market.exchange].read_klines(body, market, fail)
    if not len(candles):
        return AnswerPage(())
    _check_times(candles, interval_ms, fail)
    opens, highs, lows, closes = map(candles.column, ("open", "high", "low", "close"))
    # Written so that NaN fails.
    sane = (np.maximum(opens, closes) <= highs) & (np.minimum(opens, closes) >= lows)
    if not (sane.all() and lows.min() > 0 and highs.max() < np.inf):
        sane &= (lows > 0) & (highs < np.inf)
        bad = int(candles.times[~sane][0])
        raise fail(f"impossible prices (high < low, or <= 0) at {bad}")
    return _page(candles)


def parse_open_interest(
    market: Market, body: bytes, *, interval_ms: int
) -> AnswerPage[OpenInterestRow]:
    """Snapshots of one market in base units, counted one-sided on every exchange."""
    fail = PayloadErrors(market.exchange, Endpoint.OPEN_INTEREST, market.symbol)
    found = VENUES[market.exchange].read_open_interest(body, market, fail)
    if not len(found):
        return AnswerPage(())
    _check_times(found, interval_ms, fail)
    if not (found.values.min() >= 0 and found.values.max() < np.inf):
        raise fail("open interest is negative or not a number")
    return _page(found)


def parse_funding(market: Market, body: bytes) -> AnswerPage[FundingRow]:
    """Regular settlements of one market; extra charges are left out."""
    fail = PayloadErrors(market.exchange, Endpoint.FUNDING, market.symbol)
    sent = VENUES[market.exchange].read_funding(body, fail)
    if any(row.native != market.native for row in sent):
        raise fail("settlements of another symbol")
    _check_order([row.time_ms for row in sent], le, fail)
    rows = [(row.time_ms, row.rate) for row in sent if row.regular]
    _check_order([time_ms for time_ms, _ in rows], lt, fail)
    if not sent:
        return AnswerPage(())
    return AnswerPage(rows, sent[0].time_ms, sent[-1].time_ms, len(sent))


def parse_all_funding(exchange: Exchange, body: bytes) -> AnswerPage[tuple[str, int, float]]:
    """Regular settlements of all symbols as (the exchange's id, time, rate), ascending by time.

    Exchanges list one instant's settlements by symbol, so times may be some ms out of order.
    """
    fail = PayloadErrors(exchange, Endpoint.FUNDING, None)
    sent = sorted(VENUES[exchange].read_funding(body, fail), key=attrgetter("time_ms"))
    rows = [(row.native, row.time_ms, row.rate) for row in sent if row.regular]
    if len({(native, time_ms) for native, time_ms, _ in rows}) < len(rows):
        raise fail("two regular settlements of one symbol at one time")
    if not sent:
        return AnswerPage(())
    return AnswerPage(rows, sent[0].time_ms, sent[-1].time_ms, len(sent))


# --- lists of all contracts, and the clock -----------------------------------------------------


def parse_server_time(exchange: Exchange, body: bytes) -> int:
    """The exchange's clock in ms."""
    fail = PayloadErrors(exchange, Endpoint.TIME, None)
    time_ms = VENUES[exchange].read_time(body, fail)
    if not _EARLIEST_NOW_MS < time_ms < _LATEST_NOW_MS:
        raise fail(f"server time out of range: {time_ms} ms")
    return time_ms


def parse_instruments(exchange: Exchange, body: bytes, *, quote: str) -> AnswerPage[Instrument]:
    """Trading crypto perpetuals quoted and settled in `quote`; `sent` counts all instruments."""
    fail = PayloadErrors(exchange, Endpoint.INSTRUMENTS, None)
    return VENUES[exchange].read_instruments(body, quote, fail)


def parse_tickers(exchange: Exchange, body: bytes) -> list[Ticker]:
    """The tickers of all contracts."""
    return VENUES[exchange].read_tickers(body, PayloadErrors(exchange, Endpoint.TICKERS, None))


def parse_schedule(exchange: Exchange, endpoint: Endpoint, body: bytes) -> list[Ticker]:
    """Funding intervals and next settlements, from one of the venue's `schedule` lists."""
    return VENUES[exchange].schedule[endpoint](body, PayloadErrors(exchange, endpoint, None))


def _page(columns: Columns[T]) -> AnswerPage[T]:
    times = columns.times
    return AnswerPage(columns, int(times[0]), int(times[-1]), len(times))


# --- shared checks -----------------------------------------------------------------------------


def _check_order(
    times: Sequence[int], holds: Callable[[int, int], bool], fail: PayloadErrors
) -> None:
    if not all(map(holds, times, times[1:])):
        bad = next(later for earlier, later in pairwise(times) if not holds(earlier, later))
        raise fail(f"rows out of order or duplicated at {bad}")


def _check_times(columns: Columns[T], interval_ms: int, fail: PayloadErrors) -> None:
    if columns.times[0] > 0 and on_grid(columns.times, interval_ms):
        return
    times = columns.times.tolist()
    _check_order(times, lt, fail)
    bad = next(time_ms for time_ms in times if time_ms <= 0 or time_ms % interval_ms)
    raise fail(f"time off the grid of {interval_ms} ms: {bad}")
