"""Bybit v5, category linear: its endpoints, limits, error codes and parsers.

Source: the exchange's public API documentation as of autumn 2026, and recorded answers.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from market.candles import Candles
from market.markets import Exchange, Market
from market.rows import TimedValues
from venues.errors import Banned, RateLimited, Restricted, SourceDown, SymbolGone
from venues.plain_candles import MatrixForm, plain_candles
from venues.reading import (
    AnswerPage,
    ErrorBody,
    Instrument,
    Loose,
    PayloadErrors,
    Settlement,
    Ticker,
    TimeMs,
    candles_from_columns,
    check_decimals,
    checked_settlements,
    float_or_none,
    funding_interval,
    int_or_0,
    lenient,
    timed_values,
)
from venues.venue import Endpoint, EndpointTable, Kind, Limit, Order, Venue

T = TypeVar("T")

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
    retMsg: str | None = None


_ERROR: Final = msgspec.json.Decoder(_Error)


def _read_error(body: bytes) -> ErrorBody | None:
    """{"retCode":10001,"retMsg":"params error: symbol invalid","result":{}}"""
    try:
        error = _ERROR.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return ErrorBody(str(error.retCode), error.retMsg or "") if error.retCode else None


# --- history, sent newest first, reversed here ---------------------------------------------------


class _Result(msgspec.Struct, Generic[T]):
    list: list[T]
    symbol: str = ""
    category: str = "linear"
    nextPageCursor: str | None = ""


class _Answer(msgspec.Struct, Generic[T]):
    retCode: int
    result: _Result[T]


def _rows(answer: _Answer[T], market: Market, fail: PayloadErrors) -> list[T]:
    """The answer's rows, oldest first; raises BadPayload if they are of another market."""
    result = answer.result
    # An empty list may come without the symbol.
    if result.list and (result.symbol != market.native or result.category != "linear"):
        raise fail(f"an answer about {result.category} {result.symbol}"[:100])
    result.list.reverse()
    return result.list


_KLINES: Final = lenient(_Answer[tuple[TimeMs, float, float, float, float, str, str]])
_KLINE_FORM: Final = MatrixForm(width=7, quotes=14, columns=(1, 2, 3, 4, 5, 6), newest_first=True)
_ENVELOPE: Final = msgspec.json.Decoder(_Answer[Any])


def _read_klines(body: bytes, market: Market, fail: PayloadErrors) -> Candles:
    """{"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[
    ["1786820400000","63027.8","63032.3","63027.7","63032.3","4.591","289363.9178"],...]}}"""
    quoted = _list_text(body, market)
    plain = plain_candles(quoted, _KLINE_FORM) if quoted is not None else None
    if plain is not None:
        return plain
    rows = _rows(fail.decode(_KLINES, body), market, fail)
    return candles_from_columns(list(zip(*rows, strict=True)), fail)


def _list_text(body: bytes, market: Market) -> bytes | None:
    """The text of the answer's list if the rest of the answer is as expected, else None."""
    start = body.find(b'"list":[[') + len(b'"list":')
    end = body.rfind(b"]]") + len(b"]]")  # the text after the list is short
    if not len(b'"list":') <= start < end:
        return None
    try:
        result = _ENVELOPE.decode(b"%b[]%b" % (body[:start], body[end:])).result
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if result.list or result.symbol != market.native or result.category != "linear":
        return None
    return body[start:end]


class _OpenInterest(msgspec.Struct, gc=False):
    openInterest: float
    timestamp: TimeMs
    singleOpenInterest: float | None = None


class _LooseOpenInterest(msgspec.Struct):
    openInterest: str | int | float
    timestamp: TimeMs
    singleOpenInterest: Loose = ""


_OPEN_INTEREST: Final = lenient(_Answer[_OpenInterest])
_LOOSE_OPEN_INTEREST: Final = lenient(_Answer[_LooseOpenInterest])


def _read_open_interest(body: bytes, market: Market, fail: PayloadErrors) -> TimedValues:
    """{"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[
    {"openInterest":"64992.054","singleOpenInterest":"32496.027","timestamp":"1786820400000"},...],
    "nextPageCursor":""}}, in base units; `openInterest` counts both sides and is halved in older
    answers, which lack the single side."""
    try:
        answer = _OPEN_INTEREST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _loose_open_interest(body, market, fail)
    rows = _rows(answer, market, fail)
    # Halving is exact in binary: the result is the float64 nearest to half of the decimal.
    values = [
        row.openInterest / 2 if row.singleOpenInterest is None else row.singleOpenInterest
        for row in rows
    ]
    return timed_values([row.timestamp for row in rows], values)


def _loose_open_interest(body: bytes, market: Market, fail: PayloadErrors) -> TimedValues:
    """Like _read_open_interest, for numbers as texts that may be empty."""
    rows = _rows(fail.decode(_LOOSE_OPEN_INTEREST, body), market, fail)
    times = [row.timestamp for row in rows]
    one_sided = [row.singleOpenInterest not in ("", None) for row in rows]
    texts = [
        str(row.singleOpenInterest if single else row.openInterest)
        for row, single in zip(rows, one_sided, strict=True)
    ]
    if texts:
        check_decimals(texts, times, "open interest", fail)
    values = [
        float(text) if single else float(text) / 2
        for single, text in zip(one_sided, texts, strict=True)
    ]
    return timed_values(times, values)


class _Funding(msgspec.Struct):
    symbol: str
    fundingRate: float
    fundingRateTimestamp: int


_FUNDING: Final = lenient(_Answer[_Funding])


def _read_funding(body: bytes, fail: PayloadErrors) -> list[Settlement]:
    """{"retCode":0,"result":{"category":"linear","list":[{"symbol":"BTCUSDT",
    "fundingRate":"0.00004403","fundingRateTimestamp":"1786809600000"},...]}}"""
    rows = (
        Settlement(row.symbol, row.fundingRateTimestamp, row.fundingRate, True)
        for row in reversed(fail.decode(_FUNDING, body).result.list)
    )
    return checked_settlements(rows, fail)


# --- lists of all contracts, and the clock -------------------------------------------------------


class _Clock(msgspec.Struct):
    timeNano: int


class _Time(msgspec.Struct):
    retCode: int
    result: _Clock


_TIME: Final = lenient(_Time)


def _read_time(body: bytes, fail: PayloadErrors) -> int:
    """{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"}}"""
    return fail.decode(_TIME, body).result.timeNano // 1_000_000


class _Instrument(msgspec.Struct):
    symbol: str
    contractType: str | None = ""
    status: str | None = ""
    baseCoin: str | None = ""
    quoteCoin: str | None = ""
    settleCoin: str | None = ""
    symbolType: str | None = ""
    launchTime: Loose = ""
    fundingInterval: Loose = 0
    isPreListing: bool | None = False


_INSTRUMENTS: Final = lenient(_Answer[_Instrument])


def _read_instruments(body: bytes, quote: str, fail: PayloadErrors) -> AnswerPage[Instrument]:
    """{"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","contractType":"LinearPerpetual",
    "status":"Trading","baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT","symbolType":"",
    "launchTime":"1585526400000","fundingInterval":480},...],"nextPageCursor":""}}"""
    result = fail.decode(_INSTRUMENTS, body).result
    rows = [
        Instrument(
            Market(Exchange.BYBIT, row.symbol, row.baseCoin, quote, int_or_0(row.launchTime)),
            _hours(int_or_0(row.fundingInterval)),
        )
        for row in result.list
        if row.contractType == "LinearPerpetual"
        and row.status == "Trading"
        and row.quoteCoin == row.settleCoin == quote
        and row.symbolType in ("", None, "innovation")
        and not row.isPreListing
        and row.symbol
        and row.baseCoin
    ]
    return AnswerPage(rows, sent=len(result.list), cursor=result.nextPageCursor or "")


def _hours(minutes: int) -> int | None:
    return funding_interval(minutes // 60) if minutes % 60 == 0 else None


class _Ticker(msgspec.Struct):
    symbol: str
    turnover24h: Loose = ""
    nextFundingTime: Loose = ""
    fundingIntervalHour: Loose = ""


_TICKERS: Final = lenient(_Answer[_Ticker])


def _read_tickers(body: bytes, fail: PayloadErrors) -> list[Ticker]:
    """{"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","turnover24h":"2352.94",
    "nextFundingTime":"1673280000000","fundingIntervalHour":"8",...},...]}}; a value that does
    not apply is an empty string."""
    return [
        Ticker(
            row.symbol,
            float_or_none(row.turnover24h),
            int_or_0(row.nextFundingTime) or None,
            funding_interval(int_or_0(row.fundingIntervalHour)),
        )
        for row in fail.decode(_TICKERS, body).result.list
    ]


VENUE: Final = Venue(
    exchange=Exchange.BYBIT,
    base_url="https://api.bybit.com",
    endpoints=_ENDPOINTS,
    all_symbols_funding=False,  # `symbol` is required
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
    read_klines=_read_klines,
    read_open_interest=_read_open_interest,
    read_funding=_read_funding,
    read_instruments=_read_instruments,
    read_tickers=_read_tickers,
)
