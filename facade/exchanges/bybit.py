"""Bybit v5 as bots ask it: its public market paths, and its errors.

Source: the exchange's public API documentation as of autumn 2026, and logs that others published.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import orjson

from facade.candle_questions import CandleQuestion, Keeps
from facade.history_questions import FundingQuestion, InterestQuestion
from facade.market_rows import MarketRows
from facade.told_rows import ToldRow
from facade.venue import (
    Answerer,
    CandleForm,
    FacadeVenue,
    PublicPath,
    Query,
    TimeForm,
    always,
    bounds_of,
    clear,
    grid_lengths,
    limit_of,
    table,
)
from market.markets import Exchange
from market.timeframes import HOUR_MS
from venues import VENUES
from venues.venue import Endpoint, Limit

_CANDLES: Final = ("category", "symbol", "interval", "start", "end", "limit")
# For how long an answer is given to others, as in the file of Binance.
_BOOK_S: Final = 1.0
_MOMENT_S: Final = 3.0
_LISTED_S: Final = 60.0
# By path below /v5/market/: its parameters, for how long its answer is given to others, and what
# may answer it from the cache. All count alike.
_ROWS: Final[tuple[tuple[str, tuple[str, ...], float, Answerer | None], ...]] = (
    ("time", (), 0.0, "time"),
    ("kline", _CANDLES, _MOMENT_S, "klines"),
    ("mark-price-kline", _CANDLES, _MOMENT_S, None),
    ("index-price-kline", _CANDLES, _MOMENT_S, None),
    ("premium-index-price-kline", _CANDLES, _MOMENT_S, None),
    (
        "open-interest",
        ("category", "symbol", "intervalTime", "startTime", "endTime", "limit", "cursor"),
        _MOMENT_S,
        "open_interest",
    ),
    (
        "funding/history",
        ("category", "symbol", "startTime", "endTime", "limit"),
        _MOMENT_S,
        "funding",
    ),
    (
        "instruments-info",
        ("category", "symbol", "symbolType", "status", "baseCoin", "limit", "cursor"),
        _LISTED_S,
        None,
    ),
    ("tickers", ("category", "symbol", "baseCoin", "expDate"), _MOMENT_S, None),
    ("recent-trade", ("category", "symbol", "baseCoin", "optionType", "limit"), _BOOK_S, None),
    ("orderbook", ("category", "symbol", "limit"), _BOOK_S, None),
    ("risk-limit", ("category", "symbol", "cursor"), _LISTED_S, None),
    (
        "account-ratio",
        ("category", "symbol", "period", "startTime", "endTime", "limit", "cursor"),
        _MOMENT_S,
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
_LINEAR: Final = "linear"
_USUAL_CANDLES: Final = 200
_MOST_CANDLES: Final = 1000
_OF_A_CANDLE: Final = ("open", "high", "low", "close", "volume", "turnover")
_LENGTHS: Final = grid_lengths(VENUES[Exchange.BYBIT].table(Endpoint.KLINES).periods)


def _asked_candles(query: Query) -> CandleQuestion | None:
    """A start within a candle begins with that candle."""
    limit = limit_of(query, _USUAL_CANDLES, _MOST_CANDLES)
    first_ms, last_ms = bounds_of(query, "start", "end")
    step_ms = _LENGTHS.get(query.get("interval", ""))
    if step_ms is None or query.get("category", _LINEAR) != _LINEAR:
        return None
    keeps = Keeps.OLDEST if first_ms is not None and last_ms is None else Keeps.NEWEST
    if first_ms is not None:
        first_ms -= first_ms % step_ms
    return CandleQuestion(query.get("symbol", ""), step_ms, limit, keeps, first_ms, last_ms)


def _told_candles(
    rows: MarketRows, lines: range, question: CandleQuestion, contract: Decimal
) -> bytes:
    """{"retCode":0,"retMsg":"OK","result":{"category":"linear","symbol":"BTCUSDT","list":
    [["1786820400000","63026.30","63083.00","63011.60","63026.30","1116.068","70342488.01"],...]},
    "retExtInfo":{},"time":1786820400123}, newest first."""
    places = [rows.columns.index(name) for name in _OF_A_CANDLE]
    told = []
    for line in lines:
        row = rows.cells[line]
        cells = '","'.join(row[place] for place in places)
        told.append(f'["{rows.times[line]}","{cells}"]')
    return _of_symbol(told, question.symbol)


def _of_symbol(rows: Sequence[str], symbol: str, more: str = "") -> bytes:
    newest_first = ",".join(reversed(rows))
    name = orjson.dumps(symbol).decode()
    return _success(f'"symbol":{name},"category":"{_LINEAR}","list":[{newest_first}]{more}')


def _success(result: str) -> bytes:
    """An answer without its time."""
    return f'{{"retCode":0,"retMsg":"OK","result":{{{result}}},"retExtInfo":{{}}'.encode()


_CLOSING: Final = re.compile(rb',"time":([0-9]{13})}')


def _closing(now_ms: int) -> bytes:
    return b',"time":%d}' % now_ms


def _unclosed(body: bytes) -> bytes | None:
    begin = body.rfind(b',"time":')
    is_success = begin > 0 and body.startswith(b'{"retCode":0,')
    return body[:begin] if is_success and _CLOSING.fullmatch(body, begin) else None


def _read_time(body: bytes) -> int | None:
    found = _CLOSING.fullmatch(body, max(0, body.rfind(b',"time":')))
    return int(found[1]) if found else None


def _told_time(now_ms: int) -> bytes:
    return _success(f'"timeSecond":"{now_ms // 1000}","timeNano":"{now_ms * 1_000_000}"')


def _newest_candle(body: bytes) -> int:
    """The first one's."""
    begin = body.index(_FIRST_CANDLE) + len(_FIRST_CANDLE)
    return int(body[begin : body.index(b'"', begin)])


_FIRST_CANDLE: Final = b'"list":[["'
_USUAL_INTEREST: Final = 50
_MOST_INTEREST: Final = 200
_INTEREST_LENGTHS: Final = grid_lengths(
    VENUES[Exchange.BYBIT].table(Endpoint.OPEN_INTEREST).periods
)


def _asked_interest(query: Query) -> InterestQuestion | None:
    """An answer with as many rows as it may have ends with a cursor, which only the exchange can
    make."""
    limit = limit_of(query, _USUAL_INTEREST, _MOST_INTEREST)
    first_ms, last_ms = bounds_of(query, "startTime", "endTime")
    step_ms = _INTEREST_LENGTHS.get(query.get("intervalTime", ""))
    if step_ms is None or query.get("category") != _LINEAR or "cursor" in query:
        return None
    symbol = query.get("symbol", "")
    return InterestQuestion(symbol, step_ms, limit, first_ms, last_ms, has_pages=True)


def _told_interest(rows: Sequence[str], symbol: str) -> bytes:
    """All rows that there are."""
    return _of_symbol(rows, symbol, ',"nextPageCursor":""')


_MOST_FUNDING: Final = 200


def _asked_funding(query: Query) -> FundingQuestion | None:
    """A beginning without an end is refused. Whether a settlement of that very instant, a full
    hour, is told, nobody has said."""
    limit = limit_of(query, _MOST_FUNDING, _MOST_FUNDING)
    first_ms, last_ms = bounds_of(query, "startTime", "endTime")
    if query.get("category") != _LINEAR:
        return None
    if first_ms is not None and (last_ms is None or first_ms % HOUR_MS == 0):
        return None
    return FundingQuestion(query.get("symbol", ""), limit, first_ms, last_ms, forward=False)


def _told_funding(rows: Sequence[str], symbol: str) -> bytes:
    return _success(f'"category":"{_LINEAR}","list":[{",".join(reversed(rows))}]')


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
_CODES: Final = {
    **{400: 10001, 401: 10003, 403: 10005, 404: 10017, 405: 10017},
    **{418: 10018, 429: 10006, 504: 10000},
}
_BANNED: Final = 403  # the status of a ban, which others tell as 418


def _error(status: int, message: str) -> tuple[int, bytes]:
    """{"retCode":10006,"retMsg":"...","result":{},"retExtInfo":{},"time":0}"""
    body = {
        "retCode": _CODES.get(status, 10016),
        "retMsg": message,
        "result": {},
        "retExtInfo": {},
        "time": 0,
    }
    return (_BANNED if status == 418 else status), orjson.dumps(body)


def _limit_headers(counter: str, limit: Limit, used: int, now_ms: int) -> list[tuple[bytes, bytes]]:
    """As with signed requests, the time is that at which the window has passed."""
    ends_ms = now_ms + round(limit.window_s * 1000)
    return [
        (b"x-bapi-limit", b"%d" % limit.quantity),
        (b"x-bapi-limit-status", b"%d" % max(0, limit.quantity - used)),
        (b"x-bapi-limit-reset-timestamp", b"%d" % ends_ms),
    ]


FACADE: Final = FacadeVenue(
    exchange=Exchange.BYBIT,
    paths=table(_PATHS),
    error=_error,
    signing=frozenset(("sign", "signature", "timestamp", "recvwindow", "apikey")),
    key_headers=("x-bapi-",),
    asked={
        "/v5/market/kline": clear(_asked_candles),
        "/v5/market/open-interest": clear(_asked_interest),
        "/v5/market/funding/history": clear(_asked_funding),
    },
    candles=CandleForm(_OF_A_CANDLE, _told_candles, _newest_candle),
    interest=_told_interest,
    funding=_told_funding,
    time=TimeForm(_told_time, _read_time),
    closing=_closing,
    unclosed=_unclosed,
    read_rows={Endpoint.OPEN_INTEREST: _interest_rows, Endpoint.FUNDING: _funding_rows},
    limit_headers=_limit_headers,
)
