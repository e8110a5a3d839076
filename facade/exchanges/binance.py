"""Binance USD-M futures as bots ask it: its public paths with their weights, and its errors.

Source: the exchange's public API documentation as of autumn 2026, and logs that others published.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import inf
from typing import Final

import msgspec
import orjson

from facade.candle_questions import CandleQuestion, Keeps
from facade.history_questions import FundingQuestion, InterestQuestion
from facade.market_rows import MarketRows
from facade.told_rows import ToldRow
from facade.venue import (
    CandleForm,
    FacadeVenue,
    PublicPath,
    Query,
    TimeForm,
    always,
    bounds_of,
    by_limit,
    clear,
    grid_lengths,
    limit_of,
    of_one_or_all,
    table,
)
from market.markets import Exchange
from market.timeframes import DAY_MS
from venues import VENUES
from venues.venue import Endpoint, Limit

_WINDOW: Final = frozenset(("startTime", "endTime", "limit"))
_OF_CANDLES: Final = by_limit(((99, 1), (499, 2), (1000, 5), (inf, 10)), usual=500)
_OF_BOOKS: Final = by_limit(((50, 2), (100, 5), (500, 10), (inf, 20)), usual=500)
_SYMBOL: Final = frozenset(("symbol",))
_CANDLES: Final = frozenset(("symbol", "interval")) | _WINDOW
_PAIR_CANDLES: Final = frozenset(("pair", "interval")) | _WINDOW
_STATISTICS: Final = frozenset(("symbol", "period")) | _WINDOW
# For how long an answer is given to others: what changes with each order, what changes with each
# trade, and lists of contracts. No candle that closes meanwhile is missed: see facade/passing.py.
_BOOK_S: Final = 1.0
_MOMENT_S: Final = 3.0
_LISTED_S: Final = 60.0

_PATHS: Final = (
    *(
        PublicPath(
            path="/fapi/v1/ping", parameters=frozenset(), counter="weight", weight=always(1)
        ),
        PublicPath(
            path="/fapi/v1/time",
            parameters=frozenset(),
            counter="weight",
            weight=always(1),
            answerer="time",
        ),
        PublicPath(
            path="/fapi/v1/exchangeInfo",
            parameters=frozenset(),
            counter="weight",
            weight=always(1),
            ttl_s=_LISTED_S,
        ),
        PublicPath(
            path="/fapi/v1/klines",
            parameters=_CANDLES,
            counter="weight",
            weight=_OF_CANDLES,
            answerer="klines",
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/fapi/v1/continuousKlines",
            parameters=_PAIR_CANDLES | {"contractType"},
            counter="weight",
            weight=_OF_CANDLES,
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/futures/data/openInterestHist",
            parameters=_STATISTICS,
            counter="open_interest",
            weight=always(1),
            answerer="open_interest",
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/fapi/v1/fundingRate",
            parameters=_SYMBOL | _WINDOW,
            counter="funding",
            weight=always(1),
            answerer="funding",
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/fapi/v1/fundingInfo",
            parameters=frozenset(),
            counter="funding",
            weight=always(1),
            ttl_s=_LISTED_S,
        ),
        PublicPath(
            path="/fapi/v1/openInterest",
            parameters=_SYMBOL,
            counter="weight",
            weight=always(1),
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/fapi/v1/premiumIndex",
            parameters=_SYMBOL,
            counter="weight",
            weight=of_one_or_all(1, 10),
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/fapi/v1/ticker/24hr",
            parameters=_SYMBOL,
            counter="weight",
            weight=of_one_or_all(1, 40),
            ttl_s=_MOMENT_S,
        ),
        PublicPath(
            path="/fapi/v1/ticker/bookTicker",
            parameters=_SYMBOL,
            counter="weight",
            weight=of_one_or_all(2, 5),
            ttl_s=_BOOK_S,
        ),
        PublicPath(
            path="/fapi/v1/depth",
            parameters=frozenset(("symbol", "limit")),
            counter="weight",
            weight=_OF_BOOKS,
            ttl_s=_BOOK_S,
        ),
        PublicPath(
            path="/fapi/v1/trades",
            parameters=frozenset(("symbol", "limit")),
            counter="weight",
            weight=always(5),
            ttl_s=_BOOK_S,
        ),
        PublicPath(
            path="/fapi/v1/aggTrades",
            parameters=_SYMBOL | _WINDOW | {"fromId"},
            counter="weight",
            weight=always(20),
            ttl_s=_BOOK_S,
        ),
    ),
    *(
        PublicPath(
            path=f"/fapi/v1/{name}",
            parameters=_CANDLES,
            counter="weight",
            weight=_OF_CANDLES,
            ttl_s=_MOMENT_S,
        )
        for name in ("markPriceKlines", "premiumIndexKlines")
    ),
    PublicPath(
        path="/fapi/v1/indexPriceKlines",
        parameters=_PAIR_CANDLES,
        counter="weight",
        weight=_OF_CANDLES,
        ttl_s=_MOMENT_S,
    ),
    *(
        PublicPath(
            path=f"/fapi/{version}/ticker/price",
            parameters=_SYMBOL,
            counter="weight",
            weight=of_one_or_all(1, 2),
            ttl_s=_MOMENT_S,
        )
        for version in ("v1", "v2")
    ),
    # They share the limit of openInterestHist, as far as is known.
    *(
        PublicPath(
            path=f"/futures/data/{name}",
            parameters=_STATISTICS,
            counter="open_interest",
            weight=always(1),
            ttl_s=_MOMENT_S,
        )
        for name in (
            "globalLongShortAccountRatio",
            "topLongShortAccountRatio",
            "topLongShortPositionRatio",
            "takerlongshortRatio",
        )
    ),
)
_USUAL_CANDLES: Final = 500
_MOST_CANDLES: Final = 1500


_LENGTHS: Final = grid_lengths(VENUES[Exchange.BINANCE].table(Endpoint.KLINES).periods)


def _asked_candles(query: Query) -> CandleQuestion | None:
    """Both bounds count by the open time. Which rows are told where more than `limit` lie between
    two bounds, nobody has said."""
    limit = limit_of(query, _USUAL_CANDLES, _MOST_CANDLES)
    first_ms, last_ms = bounds_of(query, "startTime", "endTime")
    step_ms = _LENGTHS.get(query.get("interval", ""))
    if step_ms is None:
        return None
    keeps = Keeps.NEWEST if first_ms is None else Keeps.OLDEST if last_ms is None else Keeps.UNKNOWN
    return CandleQuestion(query.get("symbol", ""), step_ms, limit, keeps, first_ms, last_ms)


_OF_A_CANDLE: Final = (
    *("open", "high", "low", "close", "volume", "turnover"),
    *("trades", "taker_buy_volume", "taker_buy_turnover"),
)


def _told_candles(
    rows: MarketRows, lines: range, question: CandleQuestion, contract: Decimal
) -> bytes:
    """[[1786816800000,"63043.40","63083.00","63011.60","63026.30","1116.068",1786820399999,
    "70342488.01700",16911,"460.737","29038581.72240","0"],...]; its last field means nothing."""
    places = [rows.columns.index(name) for name in _OF_A_CANDLE]
    length_ms = rows.interval_ms - 1
    told = []
    for line in lines:
        row, opened = rows.cells[line], rows.times[line]
        o, h, l, c, volume, turnover, trades, bought, paid = (row[place] for place in places)  # noqa: E741
        told.append(
            f'[{opened},"{o}","{h}","{l}","{c}","{volume}",{opened + length_ms},"{turnover}"'
            f',{trades},"{bought}","{paid}","0"]'
        )
    return _list(told, question.symbol)


def _list(rows: Sequence[str], symbol: str) -> bytes:
    return f"[{','.join(rows)}]".encode()


def _newest_candle(body: bytes) -> int:
    """The last one's."""
    return int(body[body.rindex(b"[") + 1 :].partition(b",")[0])


_USUAL_INTEREST: Final = 30
_MOST_INTEREST: Final = 500
_INTEREST_KEPT_MS: Final = 30 * DAY_MS
_INTEREST_LENGTHS: Final = grid_lengths(
    VENUES[Exchange.BINANCE].table(Endpoint.OPEN_INTEREST).periods
)


def _asked_interest(query: Query) -> InterestQuestion | None:
    """Which rows one bound alone means, and whether a row of that very instant is told, nobody has
    said."""
    limit = limit_of(query, _USUAL_INTEREST, _MOST_INTEREST)
    first_ms, last_ms = bounds_of(query, "startTime", "endTime")
    step_ms = _INTEREST_LENGTHS.get(query.get("period", ""))
    if step_ms is None or (first_ms is None) != (last_ms is None):
        return None
    if (
        first_ms is not None
        and last_ms is not None
        and not (first_ms % step_ms and last_ms % step_ms)
    ):
        return None
    symbol = query.get("symbol", "")
    return InterestQuestion(symbol, step_ms, limit, first_ms, last_ms, kept_ms=_INTEREST_KEPT_MS)


_MOST_FUNDING: Final = 1000


def _asked_funding(query: Query) -> FundingQuestion | None:
    """How many rows are told without a limit and a beginning, is disputed. Which rows an end alone
    means, nobody has said."""
    first_ms, last_ms = bounds_of(query, "startTime", "endTime")
    if first_ms is None and (last_ms is not None or "limit" not in query):
        return None
    limit = limit_of(query, 100, _MOST_FUNDING)
    return FundingQuestion(query.get("symbol", ""), limit, first_ms, last_ms, forward=True)


_SERVER_TIME: Final = re.compile(rb'{"serverTime":([0-9]{13})}')


def _read_time(body: bytes) -> int | None:
    found = _SERVER_TIME.fullmatch(body)
    return int(found[1]) if found else None


class _Interest(msgspec.Struct):
    symbol: str
    timestamp: int | str


class _Funding(msgspec.Struct):
    symbol: str
    fundingTime: int
    rateType: str | None = None


_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_INTEREST: Final = msgspec.json.Decoder(_Interest)
_FUNDING: Final = msgspec.json.Decoder(_Funding)


def _interest_rows(body: bytes, symbol: str | None) -> Iterator[ToldRow]:
    """[{"symbol":"BTCUSDT","sumOpenInterest":"111856.66400000","sumOpenInterestValue":"...",
    "CMCCirculatingSupply":"...","timestamp":1786816800000},...]"""
    for raw in _LIST.decode(body):
        row = _INTEREST.decode(raw)
        yield ToldRow.of(row.symbol, int(row.timestamp), raw)


def _funding_rows(body: bytes, symbol: str | None) -> Iterator[ToldRow]:
    """[{"symbol":"BTCUSDT","fundingTime":1786780800002,"fundingRate":"0.00006523",
    "markPrice":"63050.01692754","rateType":"Regular"},...]; one time may have a row of each type.
    """
    for raw in _LIST.decode(body):
        row = _FUNDING.decode(raw)
        yield ToldRow.of(row.symbol, row.fundingTime, raw, row.rateType or "")


# The code that clients look for at a status; others say "unknown".
_CODES: Final = {
    **{400: -1100, 401: -2015, 403: -2015, 404: -5000, 405: -5000},
    **{418: -1003, 429: -1003, 502: -1001, 503: -1001, 504: -1007},
}


def _error(status: int, message: str) -> tuple[int, bytes]:
    """{"code":-1003,"msg":"..."}"""
    return status, orjson.dumps({"code": _CODES.get(status, -1000), "msg": message})


def _limit_headers(counter: str, limit: Limit, used: int, now_ms: int) -> list[tuple[bytes, bytes]]:
    """Of the weight alone; the other two limits have no field."""
    return [(limit.header.lower().encode(), b"%d" % used)] if limit.header is not None else []


FACADE: Final = FacadeVenue(
    exchange=Exchange.BINANCE,
    paths=table(_PATHS),
    error=_error,
    signing=frozenset(("signature", "timestamp", "recvwindow", "listenkey", "apikey")),
    key_headers=("x-mbx-apikey",),
    asked={
        "/fapi/v1/klines": clear(_asked_candles),
        "/futures/data/openInterestHist": clear(_asked_interest),
        "/fapi/v1/fundingRate": clear(_asked_funding),
    },
    candles=CandleForm(_OF_A_CANDLE, _told_candles, _newest_candle),
    interest=_list,
    funding=_list,
    time=TimeForm(lambda now_ms: b'{"serverTime":%d}' % now_ms, _read_time),
    closing=lambda _: b"",
    unclosed=lambda body: body if body.startswith(b"[") else None,
    read_rows={Endpoint.OPEN_INTEREST: _interest_rows, Endpoint.FUNDING: _funding_rows},
    limit_headers=_limit_headers,
)
