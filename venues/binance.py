"""Binance USD-M futures: its endpoints, weights, limits, error codes and parsers.

Source: the exchange's public API documentation as of autumn 2026, and recorded answers.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from market.candles import Candles
from market.markets import Exchange, Market
from market.rows import TimedValues
from market.timeframes import DAY_MS
from venues.errors import (
    Banned,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
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
    checked_settlements,
    float_or_none,
    funding_interval,
    int_or_0,
    lenient,
    timed_values,
)
from venues.venue import Endpoint, EndpointTable, Kind, Limit, Venue

# --- endpoints and limits ------------------------------------------------------------------------

_KLINE_PERIODS: Final = {
    word: word
    for word in (
        *("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h"),
        *("1d", "3d", "1w", "1M"),
    )
}
_OPEN_INTEREST_PERIODS: Final = {
    word: word for word in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
}

_ENDPOINTS: Final[Mapping[Endpoint, EndpointTable | None]] = {
    Endpoint.TIME: EndpointTable("/fapi/v1/time", "weight"),
    Endpoint.KLINES: EndpointTable(
        "/fapi/v1/klines",
        "weight",
        weights=((99, 1), (499, 2), (1000, 5), (1500, 10)),
        # Serves 1500, but 499 candles for a weight of 2 are the cheapest.
        page_limit=499,
        period="interval",
        periods=_KLINE_PERIODS,
    ),
    Endpoint.OPEN_INTEREST: EndpointTable(
        "/futures/data/openInterestHist",
        "open_interest",
        page_limit=500,
        period="period",
        periods=_OPEN_INTEREST_PERIODS,
        horizon_ms=30 * DAY_MS,
    ),
    Endpoint.FUNDING: EndpointTable("/fapi/v1/fundingRate", "funding", page_limit=1000),
    Endpoint.FUNDING_INFO: EndpointTable("/fapi/v1/fundingInfo", "funding"),
    Endpoint.PREMIUM_INDEX: EndpointTable(
        "/fapi/v1/premiumIndex", "weight", weights=((10**9, 10),)
    ),
    Endpoint.INSTRUMENTS: EndpointTable("/fapi/v1/exchangeInfo", "weight"),
    Endpoint.TICKERS: EndpointTable("/fapi/v1/ticker/24hr", "weight", weights=((10**9, 40),)),
}

_LIMITS: Final = {
    "weight": Limit(2400, 60, "X-MBX-USED-WEIGHT-1M", at_full_minutes=True),
    "funding": Limit(500, 300),
    "open_interest": Limit(1000, 300),
}

# --- errors --------------------------------------------------------------------------------------

_STATUSES: Final[Mapping[int, Kind]] = {
    408: SourceDown,  # backend timeout
    418: Banned,  # the address kept sending after a 429
    429: RateLimited,  # a limit was broken
    451: Restricted,  # restricted location
}
_CODES: Final[Mapping[str, Kind]] = {
    "-1000": SourceDown,  # UNKNOWN
    "-1001": SourceDown,  # DISCONNECTED
    "-1003": RateLimited,  # TOO_MANY_REQUESTS
    "-1007": SourceDown,  # TIMEOUT
    "-1008": SourceDown,  # SERVER_BUSY
    "-1016": SourceDown,  # SERVICE_SHUTTING_DOWN
    "-1121": SymbolGone,  # BAD_SYMBOL
    "-1122": SymbolGone,  # INVALID_SYMBOL_STATUS
    "-1130": WindowRefused,  # INVALID_PARAMETER: in practice open interest older than its horizon
    "-4141": SymbolGone,  # SYMBOL_ALREADY_CLOSED
    "-4144": SymbolGone,  # INVALID_PAIR
}


class _Error(msgspec.Struct):
    code: int | str | None = None
    msg: str | None = None
    errorData: dict[str, Any] | None = None


_ERROR: Final = msgspec.json.Decoder(_Error)


def _read_error(body: bytes) -> ErrorBody | None:
    """{"code":-1121,"msg":"Invalid symbol."}, or from one endpoint {"status":"ERROR",
    "code":"000002","errorData":{"limit":"limit can not greater than 1000"},"data":null}"""
    try:
        error = _ERROR.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if error.code is None:
        return None
    message = error.msg or "; ".join(map(str, (error.errorData or {}).values()))
    return ErrorBody(str(error.code), message)


# --- history, ascending --------------------------------------------------------------------------

# Unused columns are decoded as Any: the cheapest type that still checks their presence.
_KLINES: Final = lenient(
    list[tuple[TimeMs, float, float, float, float, str, Any, str, Any, Any, Any, Any]]
)
_KLINE_FORM: Final = MatrixForm(width=12, quotes=18, columns=(1, 2, 3, 4, 5, 7))


def _read_klines(body: bytes, market: Market, fail: PayloadErrors) -> Candles:
    """[[1786816800000,"63043.40","63083.00","63011.60","63026.30","1116.068",1786820399999,
    "70342488.01700",16911,"460.737","29038581.72240","0"],...]"""
    plain = plain_candles(body, _KLINE_FORM)
    if plain is not None:
        return plain
    columns: Sequence[Sequence[Any]] = list(zip(*fail.decode(_KLINES, body), strict=True))
    return candles_from_columns([*columns[:6], columns[7]] if columns else (), fail)


class _OpenInterest(msgspec.Struct, gc=False):
    symbol: str
    sumOpenInterest: float
    timestamp: TimeMs


_OPEN_INTEREST: Final = lenient(list[_OpenInterest])


def _read_open_interest(body: bytes, market: Market, fail: PayloadErrors) -> TimedValues:
    """[{"symbol":"BTCUSDT","sumOpenInterest":"111856.66400000","timestamp":1786816800000},...],
    counted one-sided in base units."""
    rows = fail.decode(_OPEN_INTEREST, body)
    if {row.symbol for row in rows} - {market.native}:
        raise fail("open interest of another symbol")
    return timed_values([row.timestamp for row in rows], [row.sumOpenInterest for row in rows])


class _Funding(msgspec.Struct):
    symbol: str
    fundingTime: int
    fundingRate: float
    rateType: str | None = None


_FUNDING: Final = lenient(list[_Funding])
_REGULAR: Final = ("Regular", "", None)  # absent in older rows; extra charges are "Special"


def _read_funding(body: bytes, fail: PayloadErrors) -> list[Settlement]:
    """[{"symbol":"BTCUSDT","fundingTime":1786780800002,"fundingRate":"0.00006523",
    "markPrice":"63050.01692754","rateType":"Regular"},...]"""
    rows = (
        Settlement(row.symbol, row.fundingTime, row.fundingRate, row.rateType in _REGULAR)
        for row in fail.decode(_FUNDING, body)
    )
    return checked_settlements(rows, fail)


# --- lists of all contracts, and the clock -------------------------------------------------------


class _Time(msgspec.Struct):
    serverTime: int


_TIME: Final = lenient(_Time)


def _read_time(body: bytes, fail: PayloadErrors) -> int:
    """{"serverTime":1786310475603}"""
    return fail.decode(_TIME, body).serverTime


class _Symbol(msgspec.Struct):
    symbol: str
    contractType: str | None = ""
    status: str | None = ""
    baseAsset: str | None = ""
    quoteAsset: str | None = ""
    marginAsset: str | None = ""
    onboardDate: Loose = 0


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


_EXCHANGE_INFO: Final = lenient(_ExchangeInfo)


def _read_instruments(body: bytes, quote: str, fail: PayloadErrors) -> AnswerPage[Instrument]:
    """{"symbols":[{"symbol":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING",
    "baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","onboardDate":1567965300000},...]}"""
    listed = fail.decode(_EXCHANGE_INFO, body).symbols
    rows = [
        Instrument(
            Market(Exchange.BINANCE, row.symbol, row.baseAsset, quote, int_or_0(row.onboardDate)),
            None,
        )
        for row in listed
        if row.contractType == "PERPETUAL"
        and row.status == "TRADING"
        and row.quoteAsset == row.marginAsset == quote
        and row.symbol
        and row.baseAsset
    ]
    return AnswerPage(rows, sent=len(listed))


class _DayTicker(msgspec.Struct):
    symbol: str
    quoteVolume: Loose = ""


_DAY_TICKERS: Final = lenient(list[_DayTicker])


def _read_tickers(body: bytes, fail: PayloadErrors) -> list[Ticker]:
    """[{"symbol":"BTCUSDT","quoteVolume":"15283.34",...},...], of the last 24 h."""
    rows = fail.decode(_DAY_TICKERS, body)
    return [Ticker(row.symbol, turnover_24h=float_or_none(row.quoteVolume)) for row in rows]


class _FundingInfo(msgspec.Struct):
    symbol: str
    fundingIntervalHours: int


_FUNDING_INFO: Final = lenient(list[_FundingInfo])


def _read_funding_info(body: bytes, fail: PayloadErrors) -> list[Ticker]:
    """[{"symbol":"LPTUSDT","fundingIntervalHours":4,...},...]: exceptions from the default."""
    return [
        Ticker(row.symbol, funding_interval_hours=row.fundingIntervalHours)
        for row in fail.decode(_FUNDING_INFO, body)
        if funding_interval(row.fundingIntervalHours) is not None
    ]


class _Premium(msgspec.Struct):
    symbol: str
    nextFundingTime: int = 0


_PREMIUM_INDEX: Final = lenient(list[_Premium])


def _read_premium_index(body: bytes, fail: PayloadErrors) -> list[Ticker]:
    """[{"symbol":"BTCUSDT","nextFundingTime":1783152000000,"time":1783140584000,...},...]; 0 where
    a contract has no funding."""
    return [
        Ticker(row.symbol, next_funding_ms=row.nextFundingTime or None)
        for row in fail.decode(_PREMIUM_INDEX, body)
    ]


VENUE: Final = Venue(
    exchange=Exchange.BINANCE,
    base_url="https://fapi.binance.com",
    endpoints=_ENDPOINTS,
    all_symbols_funding=True,
    cheapest_candles=99,  # for a weight of 1
    schedule={
        Endpoint.FUNDING_INFO: _read_funding_info,
        Endpoint.PREMIUM_INDEX: _read_premium_index,
    },
    default_funding_hours=8,
    limits=_LIMITS,
    statuses=_STATUSES,
    codes=_CODES,
    success_prefix=b"[",
    symbol_gone=None,
    banned_until=re.compile(r"banned until ([0-9]{13})"),
    default_ban_s=300,
    default_pause_s=None,
    reset_header=None,
    read_error=_read_error,
    read_time=_read_time,
    read_klines=_read_klines,
    read_open_interest=_read_open_interest,
    read_funding=_read_funding,
    read_instruments=_read_instruments,
    read_tickers=_read_tickers,
)
