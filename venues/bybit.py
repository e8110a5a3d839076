"""Bybit v5, category linear: its endpoints, limits, error codes and parsers.

Source: the exchange's public API documentation as of autumn 2026, and recorded answers.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from market.candles import Candle, Candles
from market.markets import LIVE_ADDRESSES, Exchange, Market
from market.rows import TimedValues
from venues.entries import BOM, EntryDecoder, cut_list, lenient, read_each
from venues.errors import Banned, RateLimited, Restricted, SourceDown, SymbolGone
from venues.numbers import Loose, funding_interval, int_or_0
from venues.odd_candles import OddCandles
from venues.plain_candles import MatrixForm, plain_candles
from venues.reading import (
    LONGEST_CODE,
    MOST_ENTRIES,
    MOST_ROWS,
    AnswerFaults,
    AnswerPage,
    ErrorBody,
    Instrument,
    Settlement,
    Ticker,
    TimeMs,
    decoded_or_none,
    row_number,
    row_time,
    timed_values,
    turnover,
)
from venues.venue import Endpoint, EndpointTable, Kind, Limit, Order, Venue

# --- endpoints and limits ------------------------------------------------------------------------

_KLINE_PERIODS: Final = {
    **{"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30"},
    **{"1h": "60", "2h": "120", "4h": "240", "6h": "360", "12h": "720"},
    **{"1d": "D", "1w": "W", "1M": "M"},
}
_OPEN_INTEREST_PERIODS: Final = {
    **{"5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "1d": "1d"},
}
_LINEAR: Final = (("category", "linear"),)

_ENDPOINTS: Final[Mapping[Endpoint, EndpointTable | None]] = {
    Endpoint.TIME: EndpointTable("/v5/market/time", "requests"),
    Endpoint.KLINES: EndpointTable(
        "/v5/market/kline",
        "requests",
        page_limit=1000,
        fixed=_LINEAR,
        period="interval",
        start="start",
        end="end",
        order=Order.DESCENDING,
        periods=_KLINE_PERIODS,
    ),
    Endpoint.OPEN_INTEREST: EndpointTable(
        "/v5/market/open-interest",
        "requests",
        page_limit=200,
        fixed=_LINEAR,
        period="intervalTime",
        order=Order.DESCENDING,
        periods=_OPEN_INTEREST_PERIODS,
    ),
    Endpoint.FUNDING: EndpointTable(
        "/v5/market/funding/history",
        "requests",
        page_limit=200,
        fixed=_LINEAR,
        order=Order.DESCENDING,
    ),
    Endpoint.FUNDING_INFO: None,  # the tickers have the intervals
    Endpoint.PREMIUM_INDEX: None,  # and the next settlements
    Endpoint.INSTRUMENTS: EndpointTable(
        "/v5/market/instruments-info", "requests", page_limit=1000, fixed=_LINEAR
    ),
    Endpoint.TICKERS: EndpointTable("/v5/market/tickers", "requests", fixed=_LINEAR),
    Endpoint.STATUS: None,
    Endpoint.OTHER: None,
}

_LIMITS: Final = {"requests": Limit(600, 5)}

# --- errors --------------------------------------------------------------------------------------

_STATUSES: Final[Mapping[int, Kind]] = {
    408: SourceDown,  # not in the documentation's list
    429: RateLimited,  # system protection
    451: Restricted,  # not in the documentation's list
}
_CODES: Final[Mapping[str, Kind]] = {
    "10000": SourceDown,  # server timeout
    "10006": RateLimited,  # too many visits
    "10009": Restricted,  # the IP's region is banned
    "10016": SourceDown,  # server error, or restarting
    "10018": Banned,  # the IP's rate limit; now HTTP 403 instead
    "10024": Restricted,  # compliance rules
    "10029": SymbolGone,  # the symbol is invalid or not whitelisted
    "10429": SourceDown,  # system level frequency protection
}
# 10001 is any wrong parameter: only the message says that the contract is gone.
_SYMBOL_GONE: Final = re.compile(
    r"symbol invalid|not supported symbol|symbol.{0,80}?(?:closed|not exist)"
)


class _Error(msgspec.Struct):
    retCode: int | None = None
    retMsg: Any = None


_ERROR: Final = lenient(_Error)


def _read_error(body: bytes) -> ErrorBody | None:
    """{"retCode":10001,"retMsg":"params error: symbol invalid","result":{}}"""
    error = decoded_or_none(_ERROR, body)
    if error is None or not error.retCode:
        return None
    message = error.retMsg if isinstance(error.retMsg, str) else ""
    return ErrorBody(str(error.retCode)[:LONGEST_CODE], message)


# --- answers -------------------------------------------------------------------------------------


# An error that was not recognised as one may come with an empty list.
_Success = Annotated[int, msgspec.Meta(ge=0, le=0)]


class _Result(msgspec.Struct):
    list: list[Any] | None
    symbol: str | None = ""
    category: str | None = "linear"
    nextPageCursor: Any = ""


class _Answer(msgspec.Struct):
    retCode: _Success
    result: _Result | None


class _OpenInterest(msgspec.Struct):
    openInterest: float
    timestamp: TimeMs
    singleOpenInterest: float | None = None


class _OpenInterestResult(msgspec.Struct):
    list: list[_OpenInterest]
    symbol: str | None = ""
    category: str | None = "linear"


_ANSWER: Final = lenient(_Answer)
_NOTHING: Final = _Result(None)


def _list_of(
    body: bytes, faults: AnswerFaults, most: int = MOST_ENTRIES
) -> tuple[list[bytes], _Result]:
    """The texts of the answer's entries, none for a null list, and what else the answer says."""
    text = body.removeprefix(BOM)
    cut = cut_list(text, "list")
    result = faults.decode(_ANSWER, cut.envelope if cut is not None else body).result or _NOTHING
    if cut is not None and result.list:  # another list of that name comes before the result's
        cut = cut_list(text, "list", last=True)
        result = (
            faults.decode(_ANSWER, cut.envelope if cut is not None else body).result or _NOTHING
        )
        if result.list:
            raise faults("unexpected answer: its list is not to be told from others")
    if cut is None or result.list != []:
        return [], result
    faults.check_length(cut.length, most)
    return cut.entries, result


def _rows(body: bytes, market: Market, faults: AnswerFaults) -> list[bytes]:
    """The texts of the answer's rows, oldest first; raises BadPayload for another market's."""
    entries, result = _list_of(body, faults, MOST_ROWS)
    # An empty list may come without the symbol.
    if entries and not _is_of(result, market):
        raise faults(f"an answer about {result.category} {result.symbol}"[:100])
    return entries[::-1]


def _is_of(result: _Result | _OpenInterestResult, market: Market) -> bool:
    return result.symbol == market.native and result.category == "linear"


# --- history, sent newest first, reversed here ---------------------------------------------------

_KLINE_FORM: Final = MatrixForm(width=7, quotes=14, columns=(1, 2, 3, 4, 5, 6), newest_first=True)
_ODD_KLINES: Final = OddCandles(_KLINE_FORM)


def _read_plain_klines(
    body: bytes, market: Market, interval_ms: int, trade_columns: bool = False
) -> Candles | None:
    """{"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[
    ["1786820400000","63027.8","63032.3","63027.7","63032.3","4.591","289363.9178"],...]}}"""
    name = body.find(b'"list":[[')
    if name == -1:
        return None
    start = name + len(b'"list":')
    end = body.rfind(b"]]") + len(b"]]")  # the text after the list is short
    answer = decoded_or_none(_ANSWER, b"%b[]%b" % (body[:start], body[end:]))
    result = answer.result if answer is not None else None
    if result is None or result.list != [] or not _is_of(result, market):
        return None
    return plain_candles(body[start:end], _KLINE_FORM, interval_ms)


def _read_klines(
    body: bytes,
    market: Market,
    interval_ms: int,
    faults: AnswerFaults,
    trade_columns: bool = False,
) -> list[Candle]:
    return _ODD_KLINES(_rows(body, market, faults), interval_ms, faults)


class _OpenInterestAnswer(msgspec.Struct):
    retCode: _Success
    result: _OpenInterestResult


class _LooseOpenInterest(msgspec.Struct):
    openInterest: Loose = None
    timestamp: Loose = None
    singleOpenInterest: Loose = None


_OPEN_INTEREST: Final = lenient(_OpenInterestAnswer)
_LOOSE_OPEN_INTEREST: Final = EntryDecoder(_LooseOpenInterest)


def _read_open_interest(body: bytes, market: Market, faults: AnswerFaults) -> TimedValues:
    """{"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[
    {"openInterest":"64992.054","singleOpenInterest":"32496.027","timestamp":"1786820400000"},...],
    "nextPageCursor":""}}, in base units; `openInterest` counts both sides and is halved in older
    answers, which lack the single side."""
    answer = decoded_or_none(_OPEN_INTEREST, body)
    if answer is None or len(answer.result.list) > MOST_ROWS or not _is_of(answer.result, market):
        texts = _rows(body, market, faults)
        return TimedValues.of(
            read_each(_LOOSE_OPEN_INTEREST(texts), _one_interest, faults.leave_out)
        )
    rows = answer.result.list[::-1]
    # Halving is exact in binary: the result is the float64 nearest to half of the decimal.
    values = [
        row.openInterest / 2 if row.singleOpenInterest is None else row.singleOpenInterest
        for row in rows
    ]
    return timed_values([row.timestamp for row in rows], values)


def _one_interest(row: _LooseOpenInterest) -> tuple[int, float]:
    time_ms = row_time(row.timestamp)
    if row.singleOpenInterest not in ("", None):
        return time_ms, row_number("open interest", row.singleOpenInterest, time_ms)
    return time_ms, row_number("open interest", row.openInterest, time_ms) / 2


class _Funding(msgspec.Struct):
    symbol: Any
    fundingRate: Loose = None
    fundingRateTimestamp: Loose = None


_FUNDING: Final = EntryDecoder(_Funding)


def _read_funding(body: bytes, faults: AnswerFaults) -> list[Settlement]:
    """{"retCode":0,"result":{"category":"linear","list":[{"symbol":"BTCUSDT",
    "fundingRate":"0.00004403","fundingRateTimestamp":"1786809600000"},...]}}"""
    texts = _list_of(body, faults, MOST_ROWS)[0][::-1]
    return read_each(_FUNDING(texts), _one_settlement, faults.leave_out)


def _one_settlement(row: _Funding) -> Settlement:
    time_ms = row_time(row.fundingRateTimestamp)
    return Settlement(time_ms, row.symbol, row_number("its rate", row.fundingRate, time_ms), True)


# --- lists of all contracts, and the clock -------------------------------------------------------


class _Clock(msgspec.Struct):
    timeNano: int


class _Time(msgspec.Struct):
    retCode: _Success
    result: _Clock


_TIME: Final = lenient(_Time)


def _read_time(body: bytes, faults: AnswerFaults) -> int:
    """{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"}}"""
    return faults.decode(_TIME, body).result.timeNano // 1_000_000


class _Instrument(msgspec.Struct):
    symbol: str
    contractType: str | None = ""
    status: str | None = ""
    baseCoin: str | None = ""
    quoteCoin: str | None = ""
    settleCoin: str | None = ""
    symbolType: str | None = ""
    launchTime: Loose = None
    fundingInterval: Loose = None
    isPreListing: bool | None = False


_INSTRUMENTS: Final = EntryDecoder(_Instrument)


def _read_instruments(body: bytes, quote: str, faults: AnswerFaults) -> AnswerPage[Instrument]:
    """{"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","contractType":"LinearPerpetual",
    "status":"Trading","baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT","symbolType":"",
    "launchTime":"1585526400000","fundingInterval":480},...],"nextPageCursor":""}}"""
    texts, result = _list_of(body, faults)
    rows = [
        Instrument(
            Market(Exchange.BYBIT, row.symbol, row.baseCoin, quote, int_or_0(row.launchTime)),
            _hours(int_or_0(row.fundingInterval)),
        )
        for row in faults.readable(_INSTRUMENTS(texts))
        if not row.isPreListing
        and faults.is_to_collect(
            row.symbol,
            row.baseCoin,
            (row.contractType, ("LinearPerpetual",)),
            (row.status, ("Trading",)),
            (row.quoteCoin, (quote,)),
            (row.settleCoin, (quote,)),
            (row.symbolType, ("", None, "innovation")),
        )
        and row.baseCoin
    ]
    cursor = result.nextPageCursor
    return AnswerPage(rows, sent=len(texts), cursor=cursor if isinstance(cursor, str) else "")


def _hours(minutes: int) -> int | None:
    return funding_interval(minutes // 60) if minutes % 60 == 0 else None


class _Ticker(msgspec.Struct):
    symbol: str
    turnover24h: Loose = None
    nextFundingTime: Loose = None
    fundingIntervalHour: Loose = None


_TICKERS: Final = EntryDecoder(_Ticker)


def _read_tickers(body: bytes, faults: AnswerFaults) -> list[Ticker]:
    """{"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","turnover24h":"2352.94",
    "nextFundingTime":"1673280000000","fundingIntervalHour":"8",...},...]}}; a value that does
    not apply is an empty string."""
    return [
        Ticker(
            row.symbol,
            turnover(row.turnover24h),
            int_or_0(row.nextFundingTime) or None,
            funding_interval(int_or_0(row.fundingIntervalHour)),
        )
        for row in faults.readable(_TICKERS(_list_of(body, faults)[0]))
    ]


VENUE: Final = Venue(
    exchange=Exchange.BYBIT,
    base_url=LIVE_ADDRESSES[Exchange.BYBIT],
    endpoints=_ENDPOINTS,
    recent_funding=None,  # `symbol` is required
    cheapest_candles=99,  # every request weighs the same; fewer candles keep answers small
    schedule={Endpoint.TICKERS: _read_tickers},
    default_funding_hours=None,
    limits=_LIMITS,
    statuses=_STATUSES,
    codes=_CODES,
    success_prefix=b'{"retCode":0,',
    symbol_gone=_SYMBOL_GONE,
    banned_until=None,
    default_ban_s=600,
    default_pause_s=1.0,
    reset_header="X-Bapi-Limit-Reset-Timestamp",
    read_error=_read_error,
    read_time=_read_time,
    tells_trades=False,
    read_plain_klines=_read_plain_klines,
    read_klines=_read_klines,
    read_open_interest=_read_open_interest,
    read_funding=_read_funding,
    read_instruments=_read_instruments,
    read_tickers=_read_tickers,
)
