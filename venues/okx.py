"""OKX v5, swaps in USDT: its endpoints, limits, error codes and parsers.

Source: the exchange's public API documentation as of autumn 2026, and recorded answers. Every
value is a text. Sizes are told in contracts and in coins; those in coins are read. The exchange
has no candles of 8h; those of 6h, 12h and 1d open by UTC+8 unless they are asked for by UTC.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import Annotated, Any, Final

import msgspec

from market.candles import Candle, Candles
from market.markets import LIVE_ADDRESSES, Exchange, Market
from market.rows import TimedValues
from market.timeframes import DAY_MS, HOUR_MS
from market.unread_entries import UnreadEntry
from venues.entries import (
    BOM,
    EntryDecoder,
    Named,
    Unreadable,
    cut_list,
    lenient,
    read_each,
)
from venues.errors import BadRequest, RateLimited, Restricted, SourceDown, SymbolGone
from venues.numbers import Loose, float_or_none, funding_interval, int_or_0, plain_decimal
from venues.odd_candles import OddCandles
from venues.okx_limits import LIMITS
from venues.okx_status import read_maintenance
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
from venues.venue import Endpoint, EndpointTable, Kind, Order, Venue

# --- endpoints and limits ------------------------------------------------------------------------

_PERIODS: Final = {
    **{minutes: minutes for minutes in ("5m", "15m", "30m")},
    **{"1h": "1H", "2h": "2H", "4h": "4H", "6h": "6Hutc", "12h": "12Hutc", "1d": "1Dutc"},
}
_KLINE_PERIODS: Final = {
    **{"1m": "1m", "3m": "3m"},
    **_PERIODS,
    **{"3d": "3Dutc", "1w": "1Wutc", "1M": "1Mutc"},
}
_SWAPS: Final = (("instType", "SWAP"),)
_NEWEST_ROWS: Final = 1440  # of `candles`, and of the history of open interest

_OLD_CANDLES: Final = EndpointTable(
    "/api/v5/market/history-candles",
    "history_candles",
    page_limit=300,
    symbol="instId",
    period="bar",
    start="before",
    end="after",
    exclusive_start=True,
    exclusive_end=True,
    order=Order.DESCENDING,
    periods=_KLINE_PERIODS,
)
_ENDPOINTS: Final[Mapping[Endpoint, EndpointTable | None]] = {
    Endpoint.TIME: EndpointTable("/api/v5/public/time", "time"),
    Endpoint.KLINES: replace(
        _OLD_CANDLES,
        path="/api/v5/market/candles",
        counter="candles",
        newest_rows=_NEWEST_ROWS,
        beyond=_OLD_CANDLES,
    ),
    Endpoint.OPEN_INTEREST: EndpointTable(
        "/api/v5/rubik/stat/contracts/open-interest-history",
        "open_interest",
        page_limit=100,
        symbol="instId",
        period="period",
        start="begin",
        end="end",
        exclusive_start=True,  # not documented: an instant before the grid has no row either way
        order=Order.DESCENDING,
        horizon_rows=_NEWEST_ROWS,
        reach_is_told=True,
        periods=_PERIODS,
    ),
    Endpoint.FUNDING: EndpointTable(
        "/api/v5/public/funding-rate-history",
        "funding",
        page_limit=400,
        symbol="instId",
        start="before",
        end="after",
        exclusive_start=True,
        exclusive_end=True,
        order=Order.DESCENDING,
        horizon_ms=90 * DAY_MS,  # three months
        reach_is_told=True,
    ),
    Endpoint.FUNDING_INFO: EndpointTable(
        "/api/v5/public/funding-rate", "funding_now", fixed=(("instId", "ANY"),)
    ),
    Endpoint.PREMIUM_INDEX: None,  # the list of funding has the next settlements, too
    Endpoint.INSTRUMENTS: EndpointTable("/api/v5/public/instruments", "instruments", fixed=_SWAPS),
    Endpoint.TICKERS: EndpointTable("/api/v5/market/tickers", "tickers", fixed=_SWAPS),
    Endpoint.STATUS: EndpointTable("/api/v5/system/status", "status"),
    Endpoint.OTHER: None,
}

# --- errors --------------------------------------------------------------------------------------

_STATUSES: Final[Mapping[int, Kind]] = {
    408: SourceDown,  # not in the documentation's list
    429: RateLimited,
    451: Restricted,  # not in the documentation's list
}
_CODES: Final[Mapping[str, Kind]] = {
    "50001": SourceDown,  # service unavailable
    "50004": SourceDown,  # the endpoint's timeout, with HTTP 400
    "50005": BadRequest,  # endpoint withdrawn
    "50011": RateLimited,  # too many requests; HTTP 429 or 200
    "50013": SourceDown,  # systems busy; HTTP 429, though no limit of ours was broken
    "50026": SourceDown,  # system error
    "50040": RateLimited,  # too frequent
    "51001": SymbolGone,  # instrument unknown
}


class _Error(msgspec.Struct):
    code: str | int | None = None
    msg: Any = None


_ERROR: Final = msgspec.json.Decoder(_Error)


def _read_error(body: bytes) -> ErrorBody | None:
    """{"code":"51001","msg":"Instrument ID, Instrument ID code, or Spread ID doesn't exist.",
    "data":[]}"""
    error = decoded_or_none(_ERROR, body)
    if error is None or error.code is None or str(error.code) == "0":
        return None
    message = error.msg if isinstance(error.msg, str) else ""
    return ErrorBody(str(error.code)[:LONGEST_CODE], message)


# --- answers -------------------------------------------------------------------------------------

# An error that was not recognised as one may come with an empty list.
_Success = Annotated[int, msgspec.Meta(ge=0, le=0)]


class _Answer(msgspec.Struct):
    code: _Success
    data: list[Any] | None


_ANSWER: Final = lenient(_Answer)


def _symbol_of(native: str) -> str:
    """BTCUSDT of BTC-USDT-SWAP, also of one with blanks around it."""
    return native.replace("-SWAP", "").replace("-", "")


_NAMED: Final = Named("instId", _symbol_of)


def _entries(body: bytes, faults: AnswerFaults, most: int = MOST_ENTRIES) -> list[bytes]:
    """The texts of the answer's entries, none for a null list."""
    text = body.removeprefix(BOM)
    cut = cut_list(text, "data")
    data = faults.decode(_ANSWER, cut.envelope if cut is not None else body).data
    if cut is not None and data:  # another list of that name comes before the answer's
        cut = cut_list(text, "data", last=True)
        data = faults.decode(_ANSWER, cut.envelope if cut is not None else body).data
        if data:
            raise faults("unexpected answer: its list is not to be told from others")
    if cut is None or data != []:
        return []
    faults.check_length(cut.length, most)
    return cut.entries


# --- history, sent newest first, reversed here ---------------------------------------------------

# The columns 5 and 8 are the volume in contracts and whether the candle has closed.
_KLINE_FORM: Final = MatrixForm(width=9, quotes=18, columns=(1, 2, 3, 4, 6, 7), newest_first=True)
_ODD_KLINES: Final = OddCandles(_KLINE_FORM)


def _read_plain_klines(
    body: bytes, market: Market, interval_ms: int, trade_columns: bool = False
) -> Candles | None:
    """{"code":"0","msg":"","data":[["1790161800000","85821.6","85821.7","85666.7","85717.8",
    "27164.55","271.6455","23287754.86518","1"],...]}"""
    name = body.find(b'"data":[[')
    if name == -1:
        return None
    start = name + len(b'"data":')
    end = body.rfind(b"]]") + len(b"]]")  # the text after the list is short
    answer = decoded_or_none(_ANSWER, b"%b[]%b" % (body[:start], body[end:]))
    if answer is None or answer.data != []:
        return None
    return plain_candles(body[start:end], _KLINE_FORM, interval_ms)


def _read_klines(
    body: bytes,
    market: Market,
    interval_ms: int,
    faults: AnswerFaults,
    trade_columns: bool = False,
) -> list[Candle]:
    return _ODD_KLINES(_entries(body, faults, MOST_ROWS)[::-1], interval_ms, faults)


class _InterestAnswer(msgspec.Struct):
    code: _Success
    data: list[tuple[TimeMs, Any, float, Any]]


_OPEN_INTEREST: Final = lenient(_InterestAnswer)
_LOOSE_OPEN_INTEREST: Final = EntryDecoder(list[Loose])


def _read_open_interest(body: bytes, market: Market, faults: AnswerFaults) -> TimedValues:
    """{"code":"0","msg":"","data":[["1790161800000","2663107.3","26631.073","1676426045.35"],
    ...]}: time, contracts, coins and USD.

    The coins are taken to be counted one-sided, as Binance's; nobody confirms it. The documentation
    says only that `oiCcy` is in coins. Bybit, which counted both sides, left that on 2026-06-11 to
    be comparable with other exchanges (PR Newswire, 2026-05-28), of which it names none.
    """
    answer = decoded_or_none(_OPEN_INTEREST, body)
    if answer is not None and len(answer.data) <= MOST_ROWS:
        rows = answer.data[::-1]
        return timed_values([row[0] for row in rows], [row[2] for row in rows])
    texts = _entries(body, faults, MOST_ROWS)[::-1]
    return TimedValues.of(read_each(_LOOSE_OPEN_INTEREST(texts), _one_interest, faults.leave_out))


def _one_interest(row: list[Loose]) -> tuple[int, float]:
    time_ms = row_time(row[0] if row else None)
    if len(row) < 3:
        raise Unreadable(f"only {len(row)} elements", time_ms)
    return time_ms, row_number("open interest", row[2], time_ms)


class _Settlement(msgspec.Struct):
    instId: Any
    fundingTime: Loose = None
    realizedRate: Loose = None


_SETTLEMENTS: Final = EntryDecoder(_Settlement)


def _read_funding(body: bytes, faults: AnswerFaults) -> list[Settlement]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","fundingRate":"0.0001515032",
    "realizedRate":"0.00015","fundingTime":"1704067200000"},...]}: the rate that was settled, beside
    the one predicted last."""
    rows = _SETTLEMENTS(_entries(body, faults, MOST_ROWS)[::-1])
    return read_each(rows, _one_settlement, faults.leave_out)


def _one_settlement(row: _Settlement) -> Settlement:
    time_ms = row_time(row.fundingTime)
    return Settlement(time_ms, row.instId, row_number("its rate", row.realizedRate, time_ms), True)


# --- lists of all contracts, and the clock -------------------------------------------------------


class _Clock(msgspec.Struct):
    ts: int


class _Time(msgspec.Struct):
    code: _Success
    data: Annotated[list[_Clock], msgspec.Meta(min_length=1, max_length=1)]


_TIME: Final = lenient(_Time)


def _read_time(body: bytes, faults: AnswerFaults) -> int:
    """{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}"""
    return faults.decode(_TIME, body).data[0].ts


class _Instrument(msgspec.Struct):
    instId: str
    ctType: str | None = ""
    state: str | None = ""
    settleCcy: str | None = ""
    ctValCcy: str | None = ""
    ruleType: str | None = ""
    instCategory: Loose = None
    ctVal: Loose = None
    ctMult: Loose = None
    listTime: Loose = None


_INSTRUMENTS: Final = EntryDecoder(_Instrument, _NAMED)
_SUSPENDED: Final = "suspended at the exchange"


def _read_instruments(body: bytes, quote: str, faults: AnswerFaults) -> AnswerPage[Instrument]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","ctType":"linear",
    "settleCcy":"USDT","ctValCcy":"BTC","ctVal":"0.01","ctMult":"1","state":"live",
    "ruleType":"normal","instCategory":"1","listTime":"1573557408000"},...]}; the fields for the
    base and the quote are empty for swaps, whose ids have them.

    A suspended contract is left out like one that cannot be read: the rows that are known of it
    stay.
    """
    texts = _entries(body, faults)
    rows = []
    for row in faults.readable(_INSTRUMENTS(texts)):
        base, symbol = row.ctValCcy, _symbol_of(row.instId)
        suspended = row.state == "suspend"
        if not faults.is_to_collect(
            symbol,
            base,
            (row.ctType, ("linear",)),
            (row.settleCcy, (quote,)),
            ("-".join(row.instId.split("-")[1:]), (f"{quote}-SWAP",)),
            (row.state, ("live", "suspend")),
            (row.ruleType, ("normal", "", None)),  # else it is in pre-launch
            (str(row.instCategory or ""), ("", "1")),  # else it is of a stock or a metal
        ):
            continue
        if suspended:
            faults.unread.append(UnreadEntry(symbol, _SUSPENDED))
            continue
        size = _contract_size(row)
        if size is None or not base:
            sent = f"ctVal {row.ctVal}, ctMult {row.ctMult}"
            faults.skip(Unreadable(f"size of a contract: {sent}"[:100], symbol=symbol))
            continue
        market = Market(
            *(Exchange.OKX, symbol, base, quote, int_or_0(row.listTime), row.instId, size)
        )
        rows.append(Instrument(market, None))
    return AnswerPage(rows, sent=len(texts))


def _contract_size(row: _Instrument) -> float | None:
    """The coins in one contract, exact as decimals are; None if they are not told."""
    value, times = (plain_decimal(str(each)) for each in (row.ctVal, row.ctMult))
    if value is None or times is None:
        return None
    size = float(Decimal(value) * Decimal(times))
    return size if 0 < size < inf else None


class _Ticker(msgspec.Struct):
    instId: str
    last: Loose = None
    volCcy24h: Loose = None


_TICKERS: Final = EntryDecoder(_Ticker, _NAMED)


def _read_tickers(body: bytes, faults: AnswerFaults) -> list[Ticker]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","last":"85717.9",
    "volCcy24h":"61234.5",...},...]}: coins of the last 24 h. There is no turnover; the last price
    makes one that is good for an order."""
    return [
        Ticker(row.instId, turnover(_product(row.last, row.volCcy24h)))
        for row in faults.readable(_TICKERS(_entries(body, faults)))
    ]


def _product(price: Loose, coins: Loose) -> float | None:
    one, other = float_or_none(price), float_or_none(coins)
    return None if one is None or other is None else one * other


class _Funding(msgspec.Struct):
    """`fundingTime`: the next settlement, `nextFundingTime` the one after it; while a settlement
    is being processed, that one and the next."""

    instId: str
    fundingTime: Loose = None
    nextFundingTime: Loose = None
    prevFundingTime: Loose = None
    settFundingRate: Loose = None
    settState: Any = None


_FUNDING: Final = EntryDecoder(_Funding, _NAMED)


def _read_schedule(body: bytes, faults: AnswerFaults) -> list[Ticker]:
    """{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","fundingTime":"1790380800000",
    "nextFundingTime":"1790409600000","prevFundingTime":"1790352000000",
    "settFundingRate":"0.0000341625964238","settState":"settled",...},...]}

    The interval in force ends at the next settlement; without the last one that after it is all
    that is known.
    """
    tickers = []
    for row in faults.readable(_FUNDING(_entries(body, faults))):
        before, coming, after = map(
            int_or_0, (row.prevFundingTime, row.fundingTime, row.nextFundingTime)
        )
        hours = _hours(before, coming) or _hours(coming, after)
        tickers.append(
            Ticker(row.instId, next_funding_ms=coming or None, funding_interval_hours=hours)
        )
    return tickers


def _hours(from_ms: int, to_ms: int) -> int | None:
    span_ms = to_ms - from_ms
    return funding_interval(span_ms // HOUR_MS) if from_ms and span_ms % HOUR_MS == 0 else None


def _read_last_funding(body: bytes, faults: AnswerFaults) -> list[Settlement]:
    """The last settlement of every contract, from the same list, but for those that are being
    processed."""
    settled = [
        row
        for row in faults.readable(_FUNDING(_entries(body, faults)))
        if row.settState == "settled" and row.prevFundingTime and row.settFundingRate
    ]
    return read_each(settled, _last_settlement, faults.leave_out)


def _last_settlement(row: _Funding) -> Settlement:
    time_ms = row_time(row.prevFundingTime)
    rate = row_number("its rate", row.settFundingRate, time_ms)
    return Settlement(time_ms, row.instId, rate, True)


VENUE: Final = Venue(
    exchange=Exchange.OKX,
    base_url=LIVE_ADDRESSES[Exchange.OKX],
    endpoints=_ENDPOINTS,
    recent_funding=(Endpoint.FUNDING_INFO, _read_last_funding),
    cheapest_candles=99,  # every request weighs the same; fewer candles keep answers small
    schedule={Endpoint.FUNDING_INFO: _read_schedule},
    default_funding_hours=None,
    limits=LIMITS,
    statuses=_STATUSES,
    codes=_CODES,
    codes_first=True,
    success_prefix=b'{"code":"0",',
    symbol_gone=None,
    banned_until=None,
    default_ban_s=None,  # none is documented
    default_pause_s=2.0,
    refuses_by_limit=True,
    reset_header=None,
    read_error=_read_error,
    read_time=_read_time,
    tells_trades=False,
    read_plain_klines=_read_plain_klines,
    read_klines=_read_klines,
    read_open_interest=_read_open_interest,
    read_funding=_read_funding,
    read_instruments=_read_instruments,
    read_tickers=_read_tickers,
    read_maintenance=read_maintenance,
)
