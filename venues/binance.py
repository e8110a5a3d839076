"""Binance USD-M futures: its endpoints, weights, limits, error codes and parsers.

Source: the exchange's public API documentation as of autumn 2026, and recorded answers.
"""

import re
from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any, Final

import msgspec

from market.candles import Candle, Candles
from market.markets import LIVE_ADDRESSES, Exchange, Market
from market.rows import TimedValues
from market.timeframes import DAY_MS
from venues.entries import EntryDecoder, Unreadable, lenient, read_each
from venues.errors import (
    Banned,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.numbers import Loose, funding_interval, int_or_0, shown
from venues.odd_candles import OddCandles
from venues.plain_candles import MatrixForm, plain_candles
from venues.reading import (
    LONGEST_CODE,
    MOST_ROWS,
    AnswerFaults,
    AnswerPage,
    ErrorBody,
    Instrument,
    ListDecoder,
    Settlement,
    Ticker,
    TimeMs,
    decoded_or_none,
    row_number,
    row_time,
    timed_values,
    turnover,
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
    Endpoint.PREMIUM_INDEX: EndpointTable("/fapi/v1/premiumIndex", "weight", weights=((inf, 10),)),
    Endpoint.INSTRUMENTS: EndpointTable("/fapi/v1/exchangeInfo", "weight"),
    Endpoint.TICKERS: EndpointTable("/fapi/v1/ticker/24hr", "weight", weights=((inf, 40),)),
    Endpoint.STATUS: None,
    Endpoint.OTHER: None,
}

_LIMITS: Final = {
    "weight": Limit(2400, 60, "X-MBX-USED-WEIGHT-1M", at_full_minutes=True),
    "funding": Limit(500, 300),
    # All at once: a close needs one for each market, and so does the next one five minutes later.
    "open_interest": Limit(1000, 300, burst=1.0),
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
    error = decoded_or_none(_ERROR, body)
    if error is None or error.code is None:
        return None
    texts = [text for text in (error.errorData or {}).values() if isinstance(text, str)]
    return ErrorBody(str(error.code)[:LONGEST_CODE], error.msg or "; ".join(texts))


# --- history, ascending --------------------------------------------------------------------------

_KLINE_FORM: Final = MatrixForm(
    width=12, quotes=18, columns=(1, 2, 3, 4, 5, 7), closes=6, trades=(8, 9, 10)
)
_ODD_KLINES: Final = OddCandles(_KLINE_FORM)


def _read_plain_klines(
    body: bytes, market: Market, interval_ms: int, trade_columns: bool = False
) -> Candles | None:
    """[[1786816800000,"63043.40","63083.00","63011.60","63026.30","1116.068",1786820399999,
    "70342488.01700",16911,"460.737","29038581.72240","0"],...]"""
    return plain_candles(body, _KLINE_FORM, interval_ms, trade_columns=trade_columns)


def _read_klines(
    body: bytes,
    market: Market,
    interval_ms: int,
    faults: AnswerFaults,
    trade_columns: bool = False,
) -> list[Candle]:
    rows = faults.cut(body, most=MOST_ROWS).entries
    return _ODD_KLINES(rows, interval_ms, faults, trade_columns=trade_columns)


class _OpenInterest(msgspec.Struct):
    symbol: str
    sumOpenInterest: float
    timestamp: TimeMs


class _LooseOpenInterest(msgspec.Struct):
    symbol: Any = None
    sumOpenInterest: Loose = None
    timestamp: Loose = None


_OPEN_INTEREST: Final = lenient(list[_OpenInterest])
_LOOSE_OPEN_INTEREST: Final = EntryDecoder(_LooseOpenInterest)


def _read_open_interest(body: bytes, market: Market, faults: AnswerFaults) -> TimedValues:
    """[{"symbol":"BTCUSDT","sumOpenInterest":"111856.66400000","timestamp":1786816800000},...],
    counted one-sided in base units."""
    rows = decoded_or_none(_OPEN_INTEREST, body)
    if rows is not None and len(rows) <= MOST_ROWS:
        symbols = {row.symbol for row in rows}
        if symbols and market.native not in symbols:
            raise faults("open interest of another symbol")
        if symbols == {market.native}:
            times = [row.timestamp for row in rows]
            return timed_values(times, [row.sumOpenInterest for row in rows])
    texts = faults.cut(body, most=MOST_ROWS).entries
    pairs = read_each(
        _LOOSE_OPEN_INTEREST(texts), partial(_one_interest, market.native), faults.leave_out
    )
    return TimedValues.of(pairs)


def _one_interest(native: str, row: _LooseOpenInterest) -> tuple[int, float]:
    time_ms = row_time(row.timestamp)
    if row.symbol != native:
        raise Unreadable(f"open interest of another symbol: {shown(row.symbol)}", time_ms)
    return time_ms, row_number("open interest", row.sumOpenInterest, time_ms)


class _Funding(msgspec.Struct):
    symbol: Any
    fundingTime: Loose = None
    fundingRate: Loose = None
    rateType: Any = None


_FUNDING: Final = ListDecoder(_Funding)
_REGULAR: Final = ("Regular", "", None)  # absent in older rows
_EXTRA: Final = "Special"  # an extra charge


def _read_funding(body: bytes, faults: AnswerFaults) -> list[Settlement]:
    """[{"symbol":"BTCUSDT","fundingTime":1786780800002,"fundingRate":"0.00006523",
    "markPrice":"63050.01692754","rateType":"Regular"},...]"""
    return read_each(_FUNDING(body, faults, MOST_ROWS), _one_settlement, faults.leave_out)


def _one_settlement(row: _Funding) -> Settlement:
    regular = row.rateType in _REGULAR
    time_ms = row_time(row.fundingTime)
    if not regular and row.rateType != _EXTRA:
        raise Unreadable(f"its type is unknown: {shown(row.rateType)}", time_ms)
    rate = row_number("its rate", row.fundingRate, time_ms) if regular else 0.0
    return Settlement(time_ms, row.symbol, rate, regular)


# --- lists of all contracts, and the clock -------------------------------------------------------


class _Time(msgspec.Struct):
    serverTime: int


_TIME: Final = lenient(_Time)


def _read_time(body: bytes, faults: AnswerFaults) -> int:
    """{"serverTime":1786310475603}"""
    return faults.decode(_TIME, body).serverTime


class _Symbol(msgspec.Struct):
    symbol: str
    contractType: str | None = ""
    status: str | None = ""
    baseAsset: str | None = ""
    quoteAsset: str | None = ""
    marginAsset: str | None = ""
    onboardDate: Loose = None


_SYMBOLS: Final = ListDecoder(_Symbol, "symbols")


def _read_instruments(body: bytes, quote: str, faults: AnswerFaults) -> AnswerPage[Instrument]:
    """{"symbols":[{"symbol":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING",
    "baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","onboardDate":1567965300000},...]}"""
    listed = _SYMBOLS.readable(body, faults)
    rows = [
        Instrument(
            Market(Exchange.BINANCE, row.symbol, row.baseAsset, quote, int_or_0(row.onboardDate)),
            None,
        )
        for row in listed
        if faults.is_to_collect(
            row.symbol,
            row.baseAsset,
            (row.contractType, ("PERPETUAL",)),
            (row.status, ("TRADING",)),
            (row.quoteAsset, (quote,)),
            (row.marginAsset, (quote,)),
        )
        and row.baseAsset
    ]
    return AnswerPage(rows, sent=len(listed))


class _DayTicker(msgspec.Struct):
    symbol: str
    quoteVolume: Loose = None


_DAY_TICKERS: Final = ListDecoder(_DayTicker)


def _read_tickers(body: bytes, faults: AnswerFaults) -> list[Ticker]:
    """[{"symbol":"BTCUSDT","quoteVolume":"15283.34",...},...], of the last 24 h."""
    return [
        Ticker(row.symbol, turnover_24h=turnover(row.quoteVolume))
        for row in _DAY_TICKERS.readable(body, faults)
    ]


class _FundingInfo(msgspec.Struct):
    symbol: str
    fundingIntervalHours: Loose = None


_FUNDING_INFO: Final = ListDecoder(_FundingInfo)


def _read_funding_info(body: bytes, faults: AnswerFaults) -> list[Ticker]:
    """[{"symbol":"LPTUSDT","fundingIntervalHours":4,...},...]: exceptions from the default."""
    return [
        Ticker(row.symbol, funding_interval_hours=hours)
        for row in _FUNDING_INFO.readable(body, faults)
        if (hours := funding_interval(int_or_0(row.fundingIntervalHours))) is not None
    ]


class _Premium(msgspec.Struct):
    symbol: str
    nextFundingTime: Loose = None


_PREMIUM_INDEX: Final = ListDecoder(_Premium)


def _read_premium_index(body: bytes, faults: AnswerFaults) -> list[Ticker]:
    """[{"symbol":"BTCUSDT","nextFundingTime":1783152000000,"time":1783140584000,...},...]; 0 where
    a contract has no funding."""
    return [
        Ticker(row.symbol, next_funding_ms=int_or_0(row.nextFundingTime) or None)
        for row in _PREMIUM_INDEX.readable(body, faults)
    ]


VENUE: Final = Venue(
    exchange=Exchange.BINANCE,
    base_url=LIVE_ADDRESSES[Exchange.BINANCE],
    endpoints=_ENDPOINTS,
    recent_funding=(Endpoint.FUNDING, _read_funding),
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
    tells_trades=True,
    read_plain_klines=_read_plain_klines,
    read_klines=_read_klines,
    read_open_interest=_read_open_interest,
    read_funding=_read_funding,
    read_instruments=_read_instruments,
    read_tickers=_read_tickers,
)
