"""Bybit v5 as bots ask it: its public market paths, and its errors.

Source: the exchange's public API documentation as of autumn 2026, and logs that others published.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
import orjson

from facade.candle_questions import CandleQuestion, Keeps
from facade.market_rows import MarketRows
from facade.told_rows import ToldRow
from facade.venue import (
    Answerer,
    CandleForm,
    FacadeVenue,
    PublicPath,
    Query,
    always,
    table,
    time_or_none,
    whole_number,
)
from market.markets import Exchange
from market.timeframes import Timeframe
from venues import VENUES
from venues.venue import Endpoint

_CANDLES: Final = ("category", "symbol", "interval", "start", "end", "limit")
_MOMENT_S: Final = 2.0
_LISTED_S: Final = 60.0
# By path below /v5/market/: its parameters, for how long its answer is given to others, and what
# may answer it from the cache. All count alike.
_ROWS: Final[tuple[tuple[str, tuple[str, ...], float, Answerer | None], ...]] = (
    ("time", (), 0.0, "time"),
    ("kline", _CANDLES, 0.0, "klines"),
    ("mark-price-kline", _CANDLES, 0.0, None),
    ("index-price-kline", _CANDLES, 0.0, None),
    ("premium-index-price-kline", _CANDLES, 0.0, None),
    (
        "open-interest",
        ("category", "symbol", "intervalTime", "startTime", "endTime", "limit", "cursor"),
        0.0,
        "open_interest",
    ),
    (
        "funding/history",
        ("category", "symbol", "startTime", "endTime", "limit"),
        0.0,
        "funding",
    ),
    (
        "instruments-info",
        ("category", "symbol", "symbolType", "status", "baseCoin", "limit", "cursor"),
        _LISTED_S,
        None,
    ),
    ("tickers", ("category", "symbol", "baseCoin", "expDate"), _MOMENT_S, None),
    ("recent-trade", ("category", "symbol", "baseCoin", "optionType", "limit"), 0.0, None),
    ("orderbook", ("category", "symbol", "limit"), 0.0, None),
    ("risk-limit", ("category", "symbol", "cursor"), _LISTED_S, None),
    (
        "account-ratio",
        ("category", "symbol", "period", "startTime", "endTime", "limit", "cursor"),
        0.0,
        None,
    ),
)
_PATHS: Final = tuple(
    PublicPath(
        path=f"/v5/market/{name}",
        parameters=frozenset(parameters),
        counter="requests",
        weight=always(1),
        ttl_s=ttl_s,
        answerer=answerer,
    )
    for name, parameters, ttl_s, answerer in _ROWS
)
_USUAL_CANDLES: Final = 200
_MOST_CANDLES: Final = 1000
_OF_A_CANDLE: Final = ("open", "high", "low", "close", "volume", "turnover")
_TIMEFRAMES: Final = {
    theirs: Timeframe(ours)
    for ours, theirs in VENUES[Exchange.BYBIT].table(Endpoint.KLINES).periods.items()
    if ours in set(Timeframe)
}


def _asked_candles(query: Query) -> CandleQuestion | None:
    """A start within a candle begins with that candle."""
    limit = whole_number(query.get("limit", str(_USUAL_CANDLES)), _MOST_CANDLES)
    first, last = query.get("start"), query.get("end")
    first_ms, last_ms = time_or_none(first), time_or_none(last)
    timeframe = _TIMEFRAMES.get(query.get("interval", ""))
    if not limit or timeframe is None or query.get("category", "linear") != "linear":
        return None
    if (first is not None and first_ms is None) or (last is not None and last_ms is None):
        return None
    keeps = Keeps.OLDEST if first is not None and last is None else Keeps.NEWEST
    if first_ms is not None:
        first_ms = timeframe.floor(first_ms)
    return CandleQuestion(query.get("symbol", ""), timeframe, limit, keeps, first_ms, last_ms)


def _told_candles(rows: MarketRows, lines: range, question: CandleQuestion, now_ms: int) -> bytes:
    """{"retCode":0,"retMsg":"OK","result":{"category":"linear","symbol":"BTCUSDT","list":
    [["1786820400000","63026.30","63083.00","63011.60","63026.30","1116.068","70342488.01"],...]},
    "retExtInfo":{},"time":1786820400123}, newest first."""
    places = [rows.columns.index(name) for name in _OF_A_CANDLE]
    told = []
    for line in reversed(lines):
        row = rows.cells[line]
        cells = '","'.join(row[place] for place in places)
        told.append(f'["{rows.times[line]}","{cells}"]')
    return (
        '{"retCode":0,"retMsg":"OK","result":{"category":"linear",'
        f'"symbol":"{question.symbol}","list":[{",".join(told)}]}},'
        f'"retExtInfo":{{}},"time":{now_ms}}}'
    ).encode()


class _Interest(msgspec.Struct):
    timestamp: str


class _Funding(msgspec.Struct):
    symbol: str
    fundingRateTimestamp: str


class _Result(msgspec.Struct):
    list: list[msgspec.Raw]
    category: str
    symbol: str | None = None


class _Answer(msgspec.Struct):
    result: _Result


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_INTEREST: Final = msgspec.json.Decoder(_Interest)
_FUNDING: Final = msgspec.json.Decoder(_Funding)


def _interest_rows(body: bytes, symbol: str | None) -> Iterator[ToldRow]:
    """{...,"result":{"symbol":"BTCUSDT","category":"linear","list":[{"openInterest":"...",
    "singleOpenInterest":"...","timestamp":"1786816800000"},...],"nextPageCursor":"..."}}"""
    result = _ANSWER.decode(body).result
    if result.category != "linear" or result.symbol is None:
        return
    for raw in result.list:
        yield ToldRow.of(result.symbol, int(_INTEREST.decode(raw).timestamp), raw)


def _funding_rows(body: bytes, symbol: str | None) -> Iterator[ToldRow]:
    """{...,"result":{"category":"linear","list":[{"symbol":"BTCUSDT","fundingRate":"0.0001",
    "fundingRateTimestamp":"1786780800000"},...]}}"""
    result = _ANSWER.decode(body).result
    if result.category != "linear":
        return
    for raw in result.list:
        row = _FUNDING.decode(raw)
        yield ToldRow.of(row.symbol, int(row.fundingRateTimestamp), raw)


# retCode by status; clients read it from a body of status 200, but for limits of the address.
_CODES: Final = {403: 10005, 404: 10017, 429: 10006, 503: 10016, 504: 10000}


def _error(status: int, message: str) -> tuple[int, bytes]:
    """{"retCode":10006,"retMsg":"...","result":{},"retExtInfo":{},"time":0}"""
    body = {
        "retCode": _CODES.get(status, 10016),
        "retMsg": message,
        "result": {},
        "retExtInfo": {},
        "time": 0,
    }
    return status, orjson.dumps(body)


FACADE: Final = FacadeVenue(
    exchange=Exchange.BYBIT,
    paths=table(_PATHS),
    error=_error,
    signing=frozenset(("sign", "signature", "timestamp", "recv_window", "api_key", "apiKey")),
    key_headers=("x-bapi-",),
    candles=CandleForm(columns=_OF_A_CANDLE, asked=_asked_candles, told=_told_candles),
    read_rows={Endpoint.OPEN_INTEREST: _interest_rows, Endpoint.FUNDING: _funding_rows},
)
