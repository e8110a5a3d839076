"""Wire bytes -> typed rows, validated. Pure functions: no I/O, no clock, no partial results.

Every parser takes the body of a successful answer and raises BadPayload, naming exchange and
market, for anything that cannot be what was asked for. Rows come out ascending by time, whatever
the exchange's own order. Error bodies are read by `read_error`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter, ge, le, lt
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from data_collector.plain_candles import plain_klines
from data_collector.wire import (
    ERROR_DECODER,
    FUNDING,
    FUNDING_INFO_DECODER,
    INSTRUMENTS,
    KLINES,
    OPEN_INTEREST,
    PREMIUM_DECODER,
    TICKERS,
    TIME,
    Failure,
    Instrument,
    Page,
    Ticker,
    check_decimals,
    settlement_hours,
)
from market.candles import Candle, new_candle
from market.markets import Exchange, FundingRow
from market.rows import Columns, TimedValues, on_grid
from venues.errors import BadPayload
from venues.venue import Endpoint

__all__ = [
    "Candle",
    "ErrorBody",
    "Instrument",
    "OpenInterestRow",
    "Page",
    "Ticker",
    "parse_all_funding",
    "parse_funding",
    "parse_funding_info",
    "parse_instruments",
    "parse_klines",
    "parse_open_interest",
    "parse_premium_index",
    "parse_server_time",
    "parse_tickers",
    "read_error",
]

T = TypeVar("T", bound=tuple[Any, ...])
OpenInterestRow = tuple[int, float]  # time of the snapshot ms | base units, one-sided


class ErrorBody(NamedTuple):
    code: str
    message: str


# --- history ---------------------------------------------------------------------------------


def parse_klines(exchange: Exchange, body: bytes, *, symbol: str, interval_ms: int) -> Page[Candle]:
    """Candles of one market.

    Binance: [[1786816800000,"63043.40","63083.00","63011.60","63026.30","1116.068",
    1786820399999,"70342488.01700",16911,"460.737","29038581.72240","0"],...]
    Bybit: {"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[
    ["1786820400000","63027.8","63032.3","63027.7","63032.3","4.591","289363.9178"],...]}}
    """
    plain = plain_klines(exchange, body, symbol=symbol, interval_ms=interval_ms)
    if plain is not None:
        return _page(plain)
    fail = Failure(exchange, Endpoint.KLINES, symbol)
    columns = KLINES[exchange](body, symbol, fail)
    if not columns:
        return Page(())
    times, opens, highs, lows, closes, volumes, turnovers = columns
    _check_times(times, interval_ms, fail)
    sane = (
        all(map(ge, highs, opens))
        and all(map(ge, highs, closes))
        and all(map(le, lows, opens))
        and all(map(le, lows, closes))
        and min(lows) > 0
        and max(highs) < float("inf")
    )
    if not sane:
        raise fail(f"prices that cannot be at {_first_bad_price(columns)}")
    check_decimals(volumes, times, "volume", fail)
    check_decimals(turnovers, times, "turnover", fail)
    rows = list(map(new_candle, zip(*columns, strict=True)))
    return Page(rows, times[0], times[-1], len(rows))


def parse_open_interest(
    exchange: Exchange, body: bytes, *, symbol: str, interval_ms: int
) -> Page[OpenInterestRow]:
    """Snapshots of one market, counted one-sided in base units on every exchange.

    Binance: [{"symbol":"BTCUSDT","sumOpenInterest":"111856.66400000","timestamp":1786816800000}]
    Bybit: {"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[
    {"openInterest":"64992.054","singleOpenInterest":"32496.027","timestamp":"1786820400000"}],
    "nextPageCursor":""}}, where the single side is missing in older answers: then it is half.
    """
    fail = Failure(exchange, Endpoint.OPEN_INTEREST, symbol)
    times, values = OPEN_INTEREST[exchange](body, symbol, fail)
    if not times:
        return Page(())
    found = TimedValues(np.array(times, np.int64), np.array(values)[:, None])
    if not times[0] or not on_grid(found.times, interval_ms):
        _check_times(times, interval_ms, fail)  # says what is wrong
    if not (found.values.min() >= 0 and found.values.max() < float("inf")):
        raise fail("open interest that is negative or not a number")
    return _page(found)


def parse_funding(exchange: Exchange, body: bytes, *, symbol: str) -> Page[FundingRow]:
    """Regular settlements of one market; extra charges (`rateType` Special) are left out.

    Binance: [{"symbol":"BTCUSDT","fundingTime":1786780800002,"fundingRate":"0.00006523",
    "markPrice":"63050.01692754","rateType":"Regular"},...], older rows without `rateType`
    Bybit: {"retCode":0,"result":{"category":"linear","list":[{"symbol":"BTCUSDT",
    "fundingRate":"0.00004403","fundingRateTimestamp":"1786809600000"},...]}}
    """
    fail = Failure(exchange, Endpoint.FUNDING, symbol)
    sent = FUNDING[exchange](body, fail)
    if any(row.symbol != symbol for row in sent):
        raise fail("settlements of another symbol")
    _check_order([row.time_ms for row in sent], le, fail)
    rows = [(row.time_ms, row.rate) for row in sent if row.regular]
    _check_order([time_ms for time_ms, _ in rows], lt, fail)
    if not sent:
        return Page(())
    return Page(rows, sent[0].time_ms, sent[-1].time_ms, len(sent))


def parse_all_funding(exchange: Exchange, body: bytes) -> Page[tuple[str, int, float]]:
    """Regular settlements of all symbols as (symbol, time, rate), ascending by time.

    One settlement's come in the order of symbols, so their stamps may be some ms out of order.
    """
    fail = Failure(exchange, Endpoint.FUNDING, None)
    sent = sorted(FUNDING[exchange](body, fail), key=attrgetter("time_ms"))
    rows = [(row.symbol, row.time_ms, row.rate) for row in sent if row.regular]
    if len({(symbol, time_ms) for symbol, time_ms, _ in rows}) < len(rows):
        raise fail("two regular settlements of one symbol at one time")
    if not sent:
        return Page(())
    return Page(rows, sent[0].time_ms, sent[-1].time_ms, len(sent))


# --- what is about a whole exchange ------------------------------------------------------------


def parse_server_time(exchange: Exchange, body: bytes) -> int:
    """The exchange's clock in ms.

    Binance: {"serverTime":1786310475603}
    Bybit: {"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"}}
    """
    time_ms = TIME[exchange](body, Failure(exchange, Endpoint.TIME, None))
    if not 1_500_000_000_000 < time_ms < 10_000_000_000_000:
        raise BadPayload("a clock that cannot be", exchange=exchange, endpoint=Endpoint.TIME)
    return time_ms


def parse_instruments(exchange: Exchange, body: bytes, *, quote: str) -> Page[Instrument]:
    """The crypto perpetuals quoted and settled in `quote` that trade now; `sent` is of all.

    Binance: {"symbols":[{"symbol":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING",
    "baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","onboardDate":1567965300000},...]}
    Bybit: {"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","contractType":"LinearPerpetual",
    "status":"Trading","baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT","symbolType":"",
    "launchTime":"1585526400000","fundingInterval":480},...],"nextPageCursor":""}}
    """
    return INSTRUMENTS[exchange](body, quote, Failure(exchange, Endpoint.INSTRUMENTS, None))


def parse_tickers(exchange: Exchange, body: bytes) -> list[Ticker]:
    """The tickers of all symbols.

    Binance (24 h statistics): [{"symbol":"BTCUSDT","quoteVolume":"15283.34",...},...]
    Bybit: {"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","turnover24h":"2352.94",
    "nextFundingTime":"1673280000000","fundingIntervalHour":"8",...},...]}}
    """
    return TICKERS[exchange](body, Failure(exchange, Endpoint.TICKERS, None))


def parse_premium_index(exchange: Exchange, body: bytes) -> list[Ticker]:
    """The coming settlement of all symbols; 0 on contracts without funding becomes None.

    Binance: [{"symbol":"BTCUSDT","nextFundingTime":1783152000000,"time":1783140584000,...},...]
    """
    fail = Failure(exchange, Endpoint.PREMIUM_INDEX, None)
    return [
        Ticker(row.symbol, next_funding_ms=row.nextFundingTime or None)
        for row in fail.decode(PREMIUM_DECODER, body)
    ]


def parse_funding_info(exchange: Exchange, body: bytes) -> dict[str, int]:
    """Settlement interval in hours of the symbols that differ from the default of 8.

    Binance: [{"symbol":"LPTUSDT","fundingIntervalHours":4,...},...]
    """
    fail = Failure(exchange, Endpoint.FUNDING_INFO, None)
    rows = fail.decode(FUNDING_INFO_DECODER, body)
    return {
        row.symbol: row.fundingIntervalHours
        for row in rows
        if settlement_hours(row.fundingIntervalHours) is not None
    }


def read_error(body: bytes) -> ErrorBody | None:
    """The error that a body tells of, in any of the known shapes; None when it tells of none.

    Binance: {"code":-1121,"msg":"Invalid symbol."} and {"status":"ERROR","code":"000002",
    "errorData":{"limit":"limit can not greater than 1000"},"data":null}
    Bybit: {"retCode":10001,"retMsg":"params error: symbol invalid","result":{}}
    """
    try:
        error = ERROR_DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if error.retCode is not None:
        return ErrorBody(str(error.retCode), error.retMsg or "") if error.retCode else None
    if error.code is None:
        return None
    message = error.msg or "; ".join(map(str, (error.errorData or {}).values()))
    return ErrorBody(str(error.code), message)


def _page(columns: Columns[T]) -> Page[T]:
    times = columns.times
    return Page(columns, int(times[0]), int(times[-1]), len(times))


# --- shared checks -----------------------------------------------------------------------------


def _check_order(times: Sequence[int], holds: Callable[[int, int], bool], fail: Failure) -> None:
    if not all(map(holds, times, times[1:])):
        bad = next(later for earlier, later in pairwise(times) if not holds(earlier, later))
        raise fail(f"rows out of order or twice at {bad}")


def _check_times(times: Sequence[int], interval_ms: int, fail: Failure) -> None:
    _check_order(times, lt, fail)
    if times[0] <= 0 or any(time_ms % interval_ms for time_ms in times):
        bad = next(time_ms for time_ms in times if time_ms <= 0 or time_ms % interval_ms)
        raise fail(f"a time off the grid: {bad}")


def _first_bad_price(columns: Sequence[Sequence[Any]]) -> int:
    times, *prices = columns[:5]
    return next(
        int(time_ms)
        for time_ms, opened, high, low, close in zip(times, *prices, strict=True)
        # Said so that a NaN never passes.
        if not (0 < low <= opened <= high < float("inf") and low <= close <= high)
    )
